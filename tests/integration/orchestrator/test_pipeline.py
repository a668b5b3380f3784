"""Whole runs: what an agent may do, what is done about it, and what is delivered."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.intention.v1.intention_pb2 import VERDICT_DRIFT, Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import ON_DRIFT_STOP, ON_SCOPE_VIOLATION_FAIL, Budget, Doctor
from autopack_api.telemetry.v1 import telemetry_pb2 as telemetry
from autopack_kit.errors import FailedPrecondition
from google.protobuf.duration_pb2 import Duration

from tests.service.orchestrator.bench import Bench, argv, bench, git, marked, repository, run, shell


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running


def goal(*scope: str, title: str = "Add a subtract function to the calculator") -> Intention:
    return Intention(title=title, scope=scope)


async def test_a_run_that_succeeds_is_a_commit_of_the_validated_tree_on_its_branch(stack: Bench, repo: Path) -> None:
    script = "mkdir .venv node_modules; echo x > .venv/x; echo x > node_modules/x; echo 'def sub(): ...' >> src/calc.py"
    validate = [shell("touch coverage.xml; grep -q sub src/calc.py")]
    (done,) = await stack.finish(repo, run("one", script, validate=validate))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert done.branch == f"autopack/{done.batch_id}/one"
    assert git(repo, "rev-parse", done.branch) == done.head_commit
    assert git(repo, "rev-parse", f"{done.branch}^{{tree}}") == done.tree_id
    assert git(repo, "rev-parse", f"{done.branch}^") == done.base_commit
    assert git(repo, "ls-tree", "-r", "--name-only", done.branch).split() == ["README.md", "src/calc.py"]
    message = git(repo, "log", "-1", "--format=%B", done.branch)
    assert message.splitlines()[0] == "Add a subtract function to the calculator"
    assert f"Autopack-Run: {done.run_id}" in message
    assert [step.outcome for step in done.steps] == [pb.STEP_OUTCOME_PASSED]
    assert done.drift_z
    assert done.intention_sha256
    assert not done.warnings


async def test_a_change_outside_the_scope_is_reverted_and_reported_and_the_rest_kept(stack: Bench, repo: Path) -> None:
    script = "echo '# more' >> src/calc.py; echo bad >> README.md; mkdir docs; echo bad > docs/new.md"
    (done,) = await stack.finish(repo, run("one", script, intention=goal("src/**")))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert sorted(done.reverted_paths) == ["README.md", "docs/new.md"]
    assert [change.path for change in done.changes] == ["src/calc.py"]
    assert git(repo, "diff", "--name-only", done.base_commit, done.head_commit) == "src/calc.py"
    (event,) = stack.events_of(done, pb.EVENT_KIND_SCOPE)
    assert "docs/new.md" in event.attributes["reverted"]


async def test_a_file_moved_out_of_the_scope_is_moved_back_and_not_lost(stack: Bench, repo: Path) -> None:
    script = "git mv src/calc.py calc.py; echo new > src/new.py"
    (done,) = await stack.finish(repo, run("one", script, intention=goal("src/**")))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert git(repo, "ls-tree", "-r", "--name-only", done.head_commit).split() == [
        "README.md",
        "src/calc.py",
        "src/new.py",
    ]


async def test_a_change_outside_the_scope_ends_the_run_where_that_is_asked_for(stack: Bench, repo: Path) -> None:
    item = run("one", "echo bad >> README.md", intention=goal("src/**"), on_scope_violation=ON_SCOPE_VIOLATION_FAIL)
    (done,) = await stack.finish(repo, item)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "SCOPE_VIOLATION")
    assert "README.md" in done.error.message
    assert b"+bad" in await stack.patch(done.run_id)


async def test_only_changes_outside_the_scope_are_no_changes(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", "echo bad >> README.md", intention=goal("src/**")))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "NO_CHANGES")
    assert list(done.reverted_paths) == ["README.md"]


async def test_a_failed_validation_keeps_the_patch_of_what_was_validated(stack: Bench, repo: Path) -> None:
    fails = shell("touch report.xml; ! grep -q more src/calc.py")
    item = run("one", validate=[argv("true"), fails, argv("true")])
    (done,) = await stack.finish(repo, item)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    outcomes = [pb.STEP_OUTCOME_PASSED, pb.STEP_OUTCOME_FAILED, pb.STEP_OUTCOME_SKIPPED]
    assert [step.outcome for step in done.steps] == outcomes
    patch = await stack.patch(done.run_id)
    assert b"+# more" in patch
    assert b"report.xml" not in patch
    assert git(repo, "branch", "--list", "autopack/*") == ""
    assert done.error.suggestions


async def test_what_fails_on_the_base_commit_already_is_reported_and_fails_only_on_request(
    stack: Bench, repo: Path
) -> None:
    validate = [shell("test -e never"), argv("true")]
    runs = [run("lenient", validate=validate), run("strict", validate=validate, fail_on_pre_existing=True)]
    lenient, strict = await stack.finish(repo, *runs)
    assert lenient.state == pb.RUN_STATE_SUCCEEDED
    assert [step.outcome for step in lenient.steps] == [pb.STEP_OUTCOME_PRE_EXISTING, pb.STEP_OUTCOME_PASSED]
    assert (strict.state, strict.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    tried = [await stack.log(item.run_id) for item in (lenient, strict)]
    assert sum(log.count(b"base-validate") for log in tried) == 1
    await stack.settled()
    assert list((stack.data / "orchestrator" / "workspaces").iterdir()) == []


async def test_a_base_commit_that_cannot_be_prepared_excuses_nothing(stack: Bench, repo: Path) -> None:
    item = run("one", install=[shell("exit 1")], validate=[argv("false")])
    (done,) = await stack.finish(repo, item)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert any("base commit could not be validated" in warning for warning in done.warnings)


async def test_a_doctor_is_told_what_failed_and_why_and_no_secret(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "open-sesame-1234")
    inside = Path("seen.json")
    copies = f'cp "$AUTOPACK_DIAGNOSIS_FILE" {inside}; echo "$AUTOPACK_USAGE_ROLE $AUTOPACK_PHASE_ID" > role'
    other = "authorization: bearer some-body-elses"
    noisy = f"yes line | head -c 200000; echo the key is $OPENROUTER_API_KEY; echo {other}; exit 1"
    item = run(
        "one", validate=[shell(f"test -e role || {{ {noisy}; }}")], doctor=Doctor(command=shell(copies)),
        pass_env=["OPENROUTER_API_KEY"],
    )  # fmt: skip
    async with bench(tmp_path) as stack:
        (done,) = await stack.finish(repo, item)
        request = telemetry.ListPhasesRequest(run_id=done.run_id)
        phases = (await stack.client.telemetry.ListPhases(request)).phases
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    told = json.loads(git(repo, "show", f"{done.branch}:{inside}"))
    assert told["goal"] == "Add a subtract function to the calculator"
    assert told["goal"] in told["context"]
    assert told["output"].endswith(f"the key is {'*' * 16}\nauthorization: bearer [redacted]\n")
    assert len(told["output"].encode()) <= 64 << 10
    assert told["output_truncated"] is True
    assert "open-sesame" not in json.dumps(told)
    assert {"command", "pattern_id", "title", "suggestions"} <= told.keys()
    role, _, phase_id = git(repo, "show", f"{done.branch}:role").partition(" ")
    assert role == "doctor"
    assert [phase.phase_id for phase in phases if phase.doctor_called] == [phase_id]


async def test_a_doctor_that_fails_ends_the_run_with_the_failure_and_is_not_called_again(
    stack: Bench, repo: Path
) -> None:
    doctor = Doctor(command=shell("echo called; exit 1"), max_calls=3)
    (done,) = await stack.finish(repo, run("one", validate=[shell("! grep -q more src/calc.py")], doctor=doctor))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert done.doctor_calls == 1
    assert (await stack.log(done.run_id)).count(b"\ncalled\n") == 1


async def test_a_doctor_is_called_as_often_as_it_may_while_it_says_that_it_helped(stack: Bench, repo: Path) -> None:
    doctor = Doctor(command=argv("true"), max_calls=2)
    (done,) = await stack.finish(repo, run("one", validate=[shell("! grep -q more src/calc.py")], doctor=doctor))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert done.doctor_calls == 2


async def test_a_doctor_gets_the_diagnosis_and_everything_is_validated_again_after_it(stack: Bench, repo: Path) -> None:
    doctor = Doctor(command=shell('grep -q "not there yet" "$AUTOPACK_DIAGNOSIS_FILE"; echo fixed > src/fixed.py'))
    validate = [shell("echo first; touch report.xml"), shell("test -e src/fixed.py || { echo not there yet; exit 1; }")]
    (done,) = await stack.finish(repo, run("one", validate=validate, doctor=doctor))
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert done.doctor_calls == 1
    # The second time all pass at once: the tree that is committed is the one that passed as a whole.
    assert [step.outcome for step in done.steps] == [pb.STEP_OUTCOME_PASSED, pb.STEP_OUTCOME_PASSED]
    log = await stack.log(done.run_id)
    assert log.count(b"\nfirst\n") == 2
    assert git(repo, "diff", "--name-only", done.base_commit, done.head_commit).split() == [
        "src/calc.py",
        "src/fixed.py",
    ]


async def test_a_doctor_that_does_not_help_is_not_called_for_ever(stack: Bench, repo: Path) -> None:
    item = run("one", validate=[shell("! grep -q more src/calc.py")], doctor=Doctor(command=argv("true"), max_calls=2))
    (done,) = await stack.finish(repo, item)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert done.doctor_calls == 2
    assert done.steps[0].tries == 3


async def test_a_step_whose_program_is_missing_says_so_in_the_log(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", validate=[argv("no-such-program")], fail_on_pre_existing=True))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert b"could not be started: program no-such-program" in await stack.log(done.run_id)


async def test_an_agent_that_cannot_start_or_fails_says_so(stack: Bench, repo: Path) -> None:
    missing, fails, killed = await stack.finish(
        repo, run("missing", command=argv("no-such-agent")), run("fails", "exit 3"), run("killed", "kill -9 $$")
    )
    assert missing.error.reason == "AGENT_NOT_STARTED"
    assert (fails.error.reason, fails.agent_exit_code) == ("AGENT_FAILED", 3)
    assert killed.error.reason == "AGENT_FAILED"
    assert "signal 9" in killed.error.message


OTHER_WORK = """
def {name}_invoice_mailer(smtp_gateway, recipient_address):
    envelope = smtp_gateway.compose_envelope(recipient_address, subject="{name} invoice reminder")
    envelope.attach_stylesheet("newsletter.css")
    return smtp_gateway.deliver(envelope, retry_schedule=("hourly", "{name}"))
"""
HISTORY = {
    "calculator subtraction": "def subtract(left, right):\n    return left - right\n",
    "calculator division": "def divide(dividend, divisor):\n    return dividend / divisor\n",
    "calculator rounding": "def round_half(number, digits):\n    return round(number, digits)\n",
    "invoice mailer": OTHER_WORK.format(name="monthly"),
    "parse expressions": "def parse(tokens):\n    return [float(token) for token in tokens]\n",
    "newsletter stylesheet": "STYLES = {'newsletter': 'newsletter.css'}\n",
}


@pytest.fixture
def lived_in(tmp_path: Path) -> Path:
    """A repository with a history, so that its profile knows what it usually talks about."""
    repo = repository(tmp_path / "lived-in")
    for subject, text in HISTORY.items():
        repository(repo, {f"src/{subject.replace(' ', '_')}.py": text}, subject=f"Add {subject}")
    return repo


def other_work(*names: str, pause: str = "0") -> str:
    steps = "".join(
        f"cat > src/{name}.py <<'END'\n{OTHER_WORK.format(name=name)}END\nsleep {pause}\n" for name in names
    )
    return steps


async def test_work_on_something_else_is_drift_in_the_result(stack: Bench, lived_in: Path) -> None:
    item = run("one", other_work("quarterly"), intention=goal(title="Add a modulo operator to the calculator"))
    (done,) = await stack.finish(lived_in, item)
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert done.drift_verdict == VERDICT_DRIFT
    assert len(done.drift_z) == 1


async def test_two_steps_of_something_else_end_the_agent_between_steps(stack: Bench, lived_in: Path) -> None:
    names = ["quarterly", "weekly", "yearly", "daily", "hourly"]
    item = run(
        "one",
        other_work(*names, pause="1.5") + "sleep 600",
        intention=goal(title="Add a modulo operator to the calculator"),
        on_drift=ON_DRIFT_STOP,
        drift_interval=Duration(seconds=1),
    )
    (done,) = await stack.finish(lived_in, item)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "DRIFT")
    assert len(done.drift_z) >= 2
    assert b"quarterly" in await stack.patch(done.run_id)
    assert await asyncio.to_thread(marked, stack.data) == []


async def test_every_commit_is_one_step_and_none_is_judged_twice(stack: Bench, lived_in: Path) -> None:
    commits = "".join(
        f"cat > src/modulo{number}.py <<'END'\n{OTHER_WORK.format(name=f'part{number}')}END\n"
        f"git add -A; git commit -qm 'Part {number}'; sleep 1.3\n"
        for number in range(3)
    )
    item = run("one", commits, drift_interval=Duration(seconds=1))
    (done,) = await stack.finish(lived_in, item)
    assert len(stack.events_of(done, pb.EVENT_KIND_DRIFT)) == 3


async def test_an_edited_context_file_is_told_once_and_changes_no_verdict(stack: Bench, lived_in: Path) -> None:
    body = OTHER_WORK.format(name="other")
    edit = 'echo "Goal: anything goes" > "$AUTOPACK_CONTEXT_FILE"'
    script = f"{edit}; cat > src/other.py <<'END'\n{body}END\nsleep 2.5\n"
    item = run("one", script, drift_interval=Duration(seconds=1))
    (done,) = await stack.finish(lived_in, item)
    assert len([text for text in done.warnings if "context was edited" in text]) == 1
    assert done.drift_verdict == VERDICT_DRIFT


async def test_what_an_agent_says_of_its_commit_is_its_note(stack: Bench, lived_in: Path) -> None:
    for kind in ("ledger", "forecast", "voucher", "gallery", "calendar", "weather", "planner", "roster"):
        lines = f"def load_{kind}(path):\n    return path.read_{kind}()\n"
        repository(lived_in, {f"lib/{kind}.py": lines}, subject=f"Load the {kind} from a file")
    body = OTHER_WORK.format(name="other")
    commit = "git add -A; git commit -qm 'Add a subtract function to the calculator'"
    script = f"cat > src/other.py <<'END'\n{body}END\n{commit}"
    (done,) = await stack.finish(lived_in, run("one", script))
    (event,) = stack.events_of(done, pb.EVENT_KIND_DRIFT)
    assert "claim_mismatch" in event.attributes["advisories"]
    assert done.drift_verdict == VERDICT_DRIFT


async def test_the_agents_own_commits_stay_as_history(stack: Bench, repo: Path) -> None:
    script = """
    git config user.name Robot; git config user.email robot@example.com
    echo a > src/a.py; git add -A; git commit -qm 'First part'
    echo b > src/b.py; git add -A; git commit -qm 'Second part'
    echo c > src/c.py
    """
    (done,) = await stack.finish(repo, run("one", script))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    subjects = git(repo, "log", "--format=%s", f"{done.base_commit}..{done.branch}").splitlines()
    assert subjects == ["Add a subtract function to the calculator", "Second part", "First part"]
    assert git(repo, "rev-parse", f"{done.branch}^{{tree}}") == done.tree_id


async def test_a_branch_of_that_name_at_home_keeps_its_content_and_the_work_stays_fetchable(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    batch = await stack.submit(repo, run("one", f"until [ -e {gate} ]; do sleep 0.05; done; echo x > src/x.py"))
    branch = f"autopack/{batch.batch_id}/one"
    git(repo, "branch", branch)
    gate.touch()
    await stack.watch(batch.batch_id)
    done = await stack.get(f"{batch.batch_id}.one")
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "BRANCH_EXISTS")
    assert git(repo, "rev-parse", branch) == done.base_commit
    (mirror,) = (stack.data / "orchestrator" / "mirrors").glob("*.git")
    git(repo, "fetch", "-q", str(mirror), f"refs/heads/{branch}:refs/heads/rescued")
    assert git(repo, "rev-parse", "rescued^{tree}") == done.tree_id


async def test_a_timeout_ends_everything_that_the_agent_has_spawned(stack: Bench, repo: Path) -> None:
    script = """
    echo partly > src/partly.py
    (setsid sh -c 'trap "" TERM HUP INT; sleep 600' >/dev/null 2>&1 &)
    (sh -c 'trap "" TERM; (trap "" TERM; sleep 600) & sleep 600' &)
    python3 -c 'import os, time; os.fork() or (os.setsid(), os.fork() or time.sleep(600))'
    sleep 600
    """
    (done,) = await stack.finish(repo, run("one", script, timeout=Duration(seconds=2)))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_TIMED_OUT, "TIMEOUT")
    assert await asyncio.to_thread(marked, stack.data) == []
    assert b"+partly" in await stack.patch(done.run_id)
    (ended,) = [event for event in stack.events_of(done, pb.EVENT_KIND_COMMAND) if event.attributes["name"] == "agent"]
    assert int(ended.attributes["leftover"]) >= 2


async def test_the_wall_time_of_a_run_and_of_a_batch_end_the_agent(stack: Bench, repo: Path) -> None:
    second = Duration(seconds=1)
    (done,) = await stack.finish(repo, run("one", "sleep 600", budget=Budget(max_wall_time=second)))
    assert done.state == pb.RUN_STATE_TIMED_OUT
    first, later = await stack.finish(
        repo, run("one", "sleep 1; echo x > x"), run("two", "sleep 600"),
        max_concurrent_runs=1, budget=Budget(max_wall_time=Duration(seconds=2)),
    )  # fmt: skip
    assert later.state == pb.RUN_STATE_TIMED_OUT
    assert first.state == pb.RUN_STATE_SUCCEEDED


async def test_a_command_gets_context_goal_and_only_the_environment_it_may_have(stack: Bench, repo: Path) -> None:
    script = 'printf "%s\\n" "$@" > words.txt; env > env.txt; cat "$AUTOPACK_CONTEXT_FILE" > context.txt'
    command = argv("sh", "-c", script, "sh", "{goal}|{context_file}", "{context}", env={"MINE": "yes"})
    item = run("one", command=command, intention=Intention(title="Keep {context} and $(literal)"))
    (done,) = await stack.finish(repo, item)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    words = git(repo, "show", f"{done.branch}:words.txt").splitlines()
    assert words[0].startswith("Keep {context} and $(literal)|/")
    environment = dict(
        line.split("=", 1) for line in git(repo, "show", f"{done.branch}:env.txt").splitlines() if "=" in line
    )
    assert environment["MINE"] == "yes"
    assert environment["AUTOPACK_RUN_ID"] == done.run_id
    assert environment["PIP_REQUIRE_VIRTUALENV"] == "1"
    assert "AUTOPACK_DATA_DIR" not in environment
    assert "PYTEST_CURRENT_TEST" not in environment
    assert "Keep {context}" in git(repo, "show", f"{done.branch}:context.txt")


async def test_names_and_output_that_are_not_utf_8_go_all_the_way(stack: Bench, repo: Path) -> None:
    script = """
    printf '\\377\\000\\376 not text\\n'
    printf x > "src/$(printf 'caf\\351').py"; printf x > "src/$(printf 'li\\nne').py"; printf x > "src/st*r[1].py"
    printf x > "$(printf 'out\\351').txt"
    """
    prepare = "printf x > \"$(printf 'made\\351')\"; mkdir 'ma[d]e'; echo > 'ma[d]e/x'"
    item = run(
        "one", script, intention=goal("src/**"), prepare=1, install=[shell(prepare)],
        validate=[shell("printf '\\377 failed\\n'; ! ls src | grep -q caf")], fail_on_pre_existing=True,
    )  # fmt: skip
    works = run("two", script, intention=goal("src/**"), prepare=1, install=[shell(prepare)])
    fails, done = await stack.finish(repo, item, works)
    assert (fails.state, fails.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert [change.path for change in done.changes] == ["src/caf\\xe9.py", "src/li\nne.py", "src/st*r[1].py"]
    assert list(done.reverted_paths) == ["out\\xe9.txt"]
    assert b"\xff\x00\xfe not text\n" in await stack.log(done.run_id)
    assert done.drift_z
    assert git(repo, "-c", "core.quotePath=true", "ls-tree", "-r", "--name-only", done.branch).count("\n") == 4


async def test_300_mb_of_output_are_capped_with_a_mark_and_never_held_in_memory(stack: Bench, repo: Path) -> None:
    item = run("warm-up")
    await stack.finish(repo, item)
    before = resident_bytes()
    flood = "echo '# more' >> src/calc.py; head -c 300000000 /dev/zero | tr '\\0' x; echo the very end"
    (done,) = await stack.finish(repo, run("one", flood, validate=[shell("head -c 80000000 /dev/zero | tr '\\0' y")]))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    size, marked_cut = 0, False
    async for response in stack.client.orchestrator.ReadLog(pb.ReadLogRequest(run_id=done.run_id)):
        size += len(response.data)
        marked_cut = marked_cut or b"truncated" in response.data
    assert marked_cut
    cap = 64 << 20
    assert 2 * cap <= size <= 2 * cap + (1 << 20)
    assert resident_bytes() - before < 80 << 20
    tail = await stack.log(done.run_id, offset=-4096)
    assert b"yyy" in tail


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_a_store_that_cannot_be_written_is_a_clear_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition) as error:
        async with bench(tmp_path, database_url=f"sqlite:///{tmp_path}/file/orchestrator.sqlite3"):
            pass
    assert str(tmp_path) in error.value.message
    assert error.value.remedy
    shutil.rmtree(tmp_path / "data" / "orchestrator")
    (tmp_path / "data" / "orchestrator").write_text("in the way")
    with pytest.raises(FailedPrecondition) as error:
        async with bench(tmp_path):
            pass
    assert error.value.reason == "DATA_DIR_UNUSABLE"
