"""Whole runs whose agents work on a server elsewhere, also on one that is busy, broken, forgetful or hostile."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import HttpExecutor, RunSpec
from autopack_kit.errors import InvalidArgument
from autopack_orchestrator.adapters.http_agent import RemoteAgent, RemoteSpec
from autopack_orchestrator.adapters.supervisor import Reason
from google.protobuf.duration_pb2 import Duration

from tests.integration.orchestrator.agent_server import AgentServer, Reply, agent_server, status
from tests.service.orchestrator.bench import bench, git, repository, run, shell

TEXT_PATCH = """\
diff --git a/src/calc.py b/src/calc.py
--- a/src/calc.py
+++ b/src/calc.py
@@ -1,2 +1,5 @@
 def add(a, b):
     return a + b
+
+def sub(a, b):
+    return a - b
"""
DONE = status("SUCCEEDED", patch=TEXT_PATCH, log="I am done.\n")
SECRET = "Bearer not-to-be-seen-anywhere"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


def binary_patch(repo: Path) -> str:
    """What an agent would send: git's own patch of a change of a text and of a binary file."""
    (repo / "src/calc.py").write_text("def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n")
    (repo / "src/new.bin").write_bytes(bytes(range(256)))
    git(repo, "add", "-A")
    text = git(repo, "diff", "--binary", "--cached") + "\n\n"
    git(repo, "reset", "-q", "--hard")
    return text


def elsewhere(server: AgentServer, **fields: Any) -> RunSpec:
    """A run on this server; it is asked every 100 ms."""
    http = HttpExecutor(
        url=f"{server.url}/agents",
        poll_interval=Duration(nanos=100_000_000),
        max_poll_interval=Duration(nanos=200_000_000),
        request_timeout=fields.pop("request_timeout", Duration(seconds=20)),
        headers=fields.pop("headers", {}),
    )
    fields.setdefault("max_attempts", 1)
    return run("one", http=http, **fields)


def allowed(server: AgentServer) -> dict[str, Any]:
    return {"http_hosts": (f"127.0.0.1:{server.port}",)}


async def finish(tmp_path: Path, repo: Path, server: AgentServer, **fields: Any) -> pb.Run:
    """One run to its end."""
    async with bench(tmp_path, **allowed(server)) as stack:
        (done,) = await stack.finish(repo, elsewhere(server, **fields))
    return done


async def test_an_agent_elsewhere_is_begun_once_asked_until_it_ends_and_its_patch_delivered(
    tmp_path: Path, repo: Path
) -> None:
    done_there = status("COMPLETE", patch=binary_patch(repo), log="I am done.\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "agents").write_text(f"{SECRET}\n")
    (credentials / "agents").chmod(0o600)
    replies = {"POST": [Reply(202)], "GET": [status("QUEUED"), status("RUNNING"), done_there]}
    async with (
        agent_server(**replies) as server,
        bench(tmp_path, **allowed(server), credentials_dir=credentials) as stack,
    ):
        item = elsewhere(server, headers={"Authorization": "agents"}, validate=[shell("grep -q sub src/calc.py")])
        (done,) = await stack.finish(repo, item)
        log = await stack.log(done.run_id)
        told = str(stack.events)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert sorted(change.path for change in done.changes) == ["src/calc.py", "src/new.bin"]
    assert git(repo, "show", f"{done.branch}:src/calc.py").endswith("return a - b")
    (begun,) = server.of("POST")
    assert begun.path == f"/agents/runs/{done.run_id}/execute"
    body = json.loads(begun.body)
    assert body["base_commit"] == done.base_commit
    assert body["goal"] == "Add a subtract function to the calculator"
    assert "subtract" in body["context"]
    assert {request.key for request in server.requests} == {f"{done.run_id}:1"}
    assert {request.path for request in server.of("GET")} == {f"/agents/runs/{done.run_id}/status"}
    assert {request.headers["authorization"] for request in server.requests} == {SECRET}
    assert not server.of("DELETE")
    assert b"I am done." in log
    assert SECRET not in told
    assert SECRET.encode() not in log


async def test_what_a_busy_server_asks_for_is_waited_and_the_same_key_sent_again(tmp_path: Path, repo: Path) -> None:
    busy = [Reply(429, headers={"Retry-After": "2"}), Reply(503, headers={"Retry-After": "1"}), Reply(201)]
    async with agent_server(POST=busy, GET=[Reply(503, headers={"Retry-After": "1"}), DONE]) as server:
        done = await finish(tmp_path, repo, server)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    first, second, third = (request.time for request in server.of("POST"))
    assert second - first >= 2
    assert third - second >= 1
    assert len({request.key for request in server.of("POST")}) == 1
    assert any("429" in warning for warning in done.warnings)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Reply(500), id="internal-error"),
        pytest.param(Reply(hang=True), id="hangs"),
        pytest.param(Reply(body=b'{"state": "RUN', missing=100), id="truncated"),
    ],
)
async def test_an_answer_that_does_not_arrive_is_asked_for_again(tmp_path: Path, repo: Path, trouble: Reply) -> None:
    async with agent_server(POST=[trouble, Reply(202)], GET=[trouble, trouble, DONE]) as server:
        done = await finish(tmp_path, repo, server, request_timeout=Duration(nanos=700_000_000))
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert len(server.of("POST")) == 2
    assert len(server.of("GET")) == 3
    assert done.warnings


@pytest.mark.parametrize(
    ("method", "reply", "reason", "words"),
    [
        ("POST", Reply(401), "HTTP_REFUSED", "credential"),
        ("POST", Reply(422), "HTTP_REFUSED", "422"),
        ("GET", Reply(404), "HTTP_REFUSED", "forgotten"),
        ("GET", Reply(410), "HTTP_REFUSED", "410"),
        ("GET", Reply(body=b"<html>"), "HTTP_BAD_ANSWER", "not JSON"),
        ("GET", status("DONE"), "HTTP_BAD_ANSWER", "'DONE'"),
        ("GET", Reply(headers={"Content-Encoding": "gzip"}), "HTTP_BAD_ANSWER", "compressed"),
        ("GET", Reply(body=b"x" * (1 << 20), chunks=40), "HTTP_ANSWER_TOO_LARGE", "32 MiB"),
    ],
)
async def test_an_answer_that_cannot_get_better_ends_the_run_and_the_work_elsewhere(
    tmp_path: Path, repo: Path, method: str, reply: Reply, reason: str, words: str
) -> None:
    async with agent_server(**{"POST": [Reply(202)], "GET": [status("RUNNING")], method: [reply]}) as server:
        done = await finish(tmp_path, repo, server)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, reason)
    assert words in f"{done.error.message} {done.error.suggestions}"
    assert len(server.of(method)) == 1
    assert len(server.of("DELETE")) == 1


async def test_a_redirect_is_not_followed_and_carries_no_header_elsewhere(tmp_path: Path, repo: Path) -> None:
    async with agent_server() as other:
        there = Reply(307, headers={"Location": f"{other.url}/runs/x/execute"})
        async with agent_server(POST=[there]) as server:
            done = await finish(tmp_path, repo, server)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "HTTP_REFUSED")
    assert any("Redirects are not followed" in text for text in done.error.suggestions)
    assert not other.requests


@pytest.mark.parametrize(
    ("reply", "state", "reason"),
    [
        (status("FAILED", message="no model", exit_code=3), pb.RUN_STATE_FAILED, "AGENT_FAILED"),
        (status("CANCELLED"), pb.RUN_STATE_FAILED, "AGENT_FAILED"),
        (status("TIMEOUT"), pb.RUN_STATE_TIMED_OUT, "TIMEOUT"),
        (status("SUCCEEDED"), pb.RUN_STATE_FAILED, "NO_CHANGES"),
    ],
)
async def test_what_became_of_the_work_elsewhere_becomes_of_the_run(
    tmp_path: Path, repo: Path, reply: Reply, state: pb.RunState.ValueType, reason: str
) -> None:
    async with agent_server(POST=[Reply(202)], GET=[reply]) as server:
        done = await finish(tmp_path, repo, server)
    assert (done.state, done.error.reason) == (state, reason)
    assert ("no model" in done.error.message) == (b"no model" in reply.body)
    assert not server.of("DELETE")


async def test_a_cancel_reaches_the_server_although_it_is_busy(tmp_path: Path, repo: Path) -> None:
    replies = {"POST": [Reply(202)], "GET": [status("RUNNING")], "DELETE": [Reply(503), Reply(202)]}
    async with agent_server(**replies) as server, bench(tmp_path, **allowed(server)) as stack:
        batch = await stack.submit(repo, elsewhere(server))
        await server.asked("GET", 2)
        await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch.batch_id}.one"))
        await stack.watch(batch.batch_id)
        done = await stack.get(f"{batch.batch_id}.one")
        asked = len(server.of("GET"))
    assert done.state == pb.RUN_STATE_CANCELLED
    ended = server.of("DELETE")
    assert [request.path for request in ended] == [f"/agents/runs/{done.run_id}"] * 2
    assert {request.key for request in ended} == {f"{done.run_id}:1"}
    assert len(server.of("GET")) == asked


async def test_a_second_cancel_does_not_interrupt_the_first(tmp_path: Path) -> None:
    busy = Reply(503, headers={"Retry-After": "1"})
    async with agent_server(POST=[Reply(202)], GET=[status("RUNNING")], DELETE=[busy, Reply(202)]) as server:
        agent = RemoteAgent(
            RemoteSpec(
                url=server.url, run_id="one", attempt=1, headers={}, body=b"{}", first=timedelta(milliseconds=50),
                most=timedelta(milliseconds=50), request_timeout_s=20.0, timeout_s=60.0, record=tmp_path / "http.json",
            ),
            _say_nothing,
        )  # fmt: skip
        waiting = asyncio.create_task(agent.wait())
        await server.asked("GET")
        await agent.cancel()
        await server.asked("DELETE")
        await agent.cancel()
        assert (await waiting).reason is Reason.CANCELLED
        assert len(server.of("DELETE")) == 2


async def _say_nothing(message: str, state: str) -> None:
    pass


async def test_a_run_whose_time_is_over_ends_and_its_server_is_told(tmp_path: Path, repo: Path) -> None:
    async with agent_server(POST=[Reply(202)], GET=[status("RUNNING")]) as server:
        done = await finish(tmp_path, repo, server, timeout=Duration(seconds=2))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_TIMED_OUT, "TIMEOUT")
    assert len(server.of("DELETE")) == 1


async def test_after_a_restart_the_same_work_is_asked_for_and_not_begun_again(tmp_path: Path, repo: Path) -> None:
    async with agent_server(POST=[Reply(202)], GET=[status("RUNNING")]) as server:
        async with bench(tmp_path, **allowed(server)) as stack:
            batch = await stack.submit(repo, elsewhere(server))
            await server.asked("GET", 2)
        asked = len(server.of("GET"))
        assert not server.of("DELETE")
        server.replies["GET"] = [status("RUNNING"), DONE]
        async with bench(tmp_path, **allowed(server)) as stack:
            await stack.watch(batch.batch_id)
            done = await stack.get(f"{batch.batch_id}.one")
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert done.attempt == 1
    assert len(server.of("POST")) == 1
    assert len(server.of("GET")) == asked + 2
    assert "def sub" in git(repo, "show", f"{done.branch}:src/calc.py")


def hostile(path: str, mode: str = "100644") -> str:
    """A patch that makes a file where none belongs."""
    return f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n"


LINK = (
    "diff --git a/out b/out\nnew file mode 120000\n--- /dev/null\n+++ b/out\n@@ -0,0 +1 @@\n+{}\n"
    "\\ No newline at end of file\n"
)


@pytest.mark.parametrize("kind", ["conflict", "not a patch", "cut off", "above", "absolute", "git", "link"])
async def test_a_patch_that_does_not_fit_or_leads_elsewhere_is_rejected_whole(
    tmp_path: Path, repo: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    patch = {
        "conflict": TEXT_PATCH.replace("return a + b", "return b + a"),
        "not a patch": "nothing\n",
        "cut off": binary_patch(repo)[:-150],
        "above": TEXT_PATCH + hostile("../outside/evil"),
        "absolute": TEXT_PATCH + hostile(f"{outside}/evil"),
        "git": TEXT_PATCH + hostile(".git/hooks/post-commit", "100755"),
        "link": LINK.format(outside) + hostile("out/evil"),
    }[kind]
    async with agent_server(POST=[Reply(202)], GET=[status("SUCCEEDED", patch=patch)]) as server:
        done = await finish(tmp_path, repo, server)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "PATCH_REJECTED"), done.error
    assert not list(outside.iterdir())
    assert not done.patch_bytes


async def test_a_host_that_is_not_allowed_and_a_value_in_the_place_of_a_name_are_refused_with_their_fields(
    tmp_path: Path, repo: Path
) -> None:
    async with agent_server() as server, bench(tmp_path) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await stack.submit(repo, elsewhere(server, headers={"Authorization": SECRET}))
    assert {found.field for found in caught.value.violations} == {"runs[0].http.url", "runs[0].http.headers"}
    assert SECRET not in str(caught.value.violations)
    assert not server.requests


@pytest.mark.parametrize(
    ("files", "reason"),
    [({}, "CREDENTIAL_NOT_FOUND"), ({"agents": SECRET, "agents.hosts": "other.example.com"}, "CREDENTIAL_HOST"),
     ({"agents": "\n"}, "CREDENTIAL_UNUSABLE")],
)  # fmt: skip
async def test_a_credential_that_cannot_be_used_ends_the_run_before_anything_is_sent(
    tmp_path: Path, repo: Path, files: dict[str, str], reason: str
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, text in files.items():
        (credentials / name).write_text(text)
        (credentials / name).chmod(0o600)
    async with agent_server() as server, bench(tmp_path, **allowed(server), credentials_dir=credentials) as stack:
        (done,) = await stack.finish(repo, elsewhere(server, headers={"Authorization": "agents"}))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, reason)
    assert not server.requests
