"""Chains of mitigations in a real repository: what helped stays, what did not leaves no trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.mitigate_undo import keep, put_back
from autopack_client.proof import Ended, Proof
from autopack_client.proving import Attempt, Chain
from autopack_client.runtimes import installed_runtimes
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto, duration_to_proto
from autopack_kit.safe_actions import OwnCommands

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository


class Scripted:
    """A bench on which a real command fails by what stands in a file, and the diagnosis is what it printed."""

    def __init__(self, project: Repository, logs: Path, mitigations: dict[str, pb.Mitigation]) -> None:
        self.runner = LocalRunner(logs)
        self.project, self.mitigations = project, mitigations
        self.attempts: list[tuple[str, Proof | None]] = []
        self.runs = 0

    async def run(self, command: Command) -> Ended:
        self.runs += 1
        ran = await self.runner.run(command, self.project.path / command.cwd)
        return Ended(command, ran.exit_code, output=ran.output.read_bytes())

    async def diagnose(self, ended: Ended) -> Sequence[pb.Diagnosis]:
        words = ended.output.decode().split()
        return [
            pb.Diagnosis(pattern_id=word, excerpt=word.encode(), line=1, priority=1, mitigation=self.mitigations[word])
            for word in words
            if word in self.mitigations
        ]

    async def applier(self, diagnosis: pb.Diagnosis, command: Command) -> Applier | None:
        return Applier(self.project.path, self.runner, base_commit="HEAD", consent=True, commands=SCRIPTS)

    async def attempted(self, attempt: Attempt) -> None:
        self.attempts.append((attempt.diagnosis.pattern_id, attempt.proof))

    async def failed(self, command: Command) -> Ended:
        ended = await self.run(command)
        return Ended(command, ended.exit_code, output=ended.output, diagnoses=tuple(await self.diagnose(ended)))


SCRIPTS = OwnCommands(
    run=frozenset([("sh", "done.sh", "state")]),
    formatters=frozenset(("sh", f"{name}.sh") for name in ("one", "two", "same", "done")),
    edits=frozenset(),
)
"""What stands in for the packaged patterns' own."""


def formatter(script: str, path: str) -> pb.Mitigation:
    kind = pb.RunFormatter(command=command_to_proto(Command.of("sh", script, path)), paths=[path])
    return pb.Mitigation(actions=[pb.Action(run_formatter=kind)], automatic=True)


def retry(attempts: int) -> pb.Mitigation:
    pause = duration_to_proto(timedelta(milliseconds=1))
    kind = pb.RetryWithBackoff(attempts=attempts, initial=pause, longest=pause)
    return pb.Mitigation(actions=[pb.Action(retry_with_backoff=kind)], automatic=True)


CHECK = Command.of("sh", "check.sh")


@pytest.fixture
def project(repository: Repository) -> Repository:
    repository.write("state", "one\n")
    repository.write("check.sh", 'cat state; test "$(cat state)" = done\n')
    for word in ("two", "done", "gone"):
        repository.write(f"{word}.sh", f'echo {word} > "$1"\n')
    repository.write("same.sh", 'echo "one " > "$1"\n')
    repository.commit()
    return repository


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


async def test_a_failure_behind_a_failure_is_two_steps(project: Repository, logs: Path) -> None:
    bench = Scripted(project, logs, {"one": formatter("two.sh", "state"), "two": formatter("done.sh", "state")})
    ended = await Chain(bench).work_off(await bench.failed(CHECK))
    assert ended.ok
    assert bench.attempts == [("one", Proof.PROGRESSED), ("two", Proof.FIXED)]


async def test_what_did_not_help_is_undone_and_not_tried_again(project: Repository, logs: Path) -> None:
    before = (project.path / "state").stat().st_mtime_ns
    bench = Scripted(project, logs, {"one": formatter("same.sh", "state")})
    chain = Chain(bench)
    failed = await bench.failed(CHECK)
    assert await chain.work_off(failed) == failed
    assert await chain.work_off(failed) == failed
    assert bench.attempts == [("one", Proof.UNCHANGED)]
    assert (project.path / "state").read_text() == "one\n"
    assert (project.path / "state").stat().st_mtime_ns == before


async def test_two_fixes_that_undo_each_other_come_to_an_end(project: Repository, logs: Path) -> None:
    project.write("one.sh", 'echo one > "$1"\n')
    bench = Scripted(project, logs, {"one": formatter("two.sh", "state"), "two": formatter("one.sh", "state")})
    assert not (await Chain(bench).work_off(await bench.failed(CHECK))).ok
    assert [pattern for pattern, _ in bench.attempts] == ["one", "two"]


async def test_a_pause_is_honoured_as_often_as_it_says(project: Repository, logs: Path) -> None:
    project.write("flaky.sh", 'echo x >> count; echo one; test "$(wc -l < count)" -ge 3\n')
    bench = Scripted(project, logs, {"one": retry(3)})
    ended = await Chain(bench).work_off(await bench.failed(Command.of("sh", "flaky.sh")))
    assert (ended.ok, bench.runs) == (True, 3)
    (project.path / "count").unlink()
    bench = Scripted(project, logs, {"one": retry(1)})
    ended = await Chain(bench).work_off(await bench.failed(Command.of("sh", "flaky.sh")))
    assert (ended.ok, bench.runs) == (False, 2)


async def test_behind_what_only_a_person_can_settle_nothing_is_tried(project: Repository, logs: Path) -> None:
    project.write("check.sh", "echo alarm one; false\n")
    bench = Scripted(project, logs, {"alarm": pb.Mitigation(), "one": formatter("done.sh", "state")})
    assert not (await Chain(bench).work_off(await bench.failed(CHECK))).ok
    assert bench.attempts == []


async def test_undo_is_exact_to_the_byte_where_git_would_convert(project: Repository, logs: Path) -> None:
    project.write(".gitattributes", "* text=auto eol=crlf\n")
    (project.path / "state").write_bytes(b"mixed\r\nends\nhere \xff")
    (project.path / "state").chmod(0o751)
    mitigation = formatter("done.sh", "state")
    applier = Applier(project.path, LocalRunner(logs), base_commit="HEAD", commands=SCRIPTS)
    outcome = await applier.apply(mitigation, CHECK)
    assert (outcome.state, outcome.changed) == (State.APPLIED, ("state",))
    await applier.undo(outcome)
    assert (project.path / "state").read_bytes() == b"mixed\r\nends\nhere \xff"
    assert (project.path / "state").stat().st_mode & 0o777 == 0o751


async def test_in_a_persons_checkout_a_modified_file_is_as_it_was(project: Repository, logs: Path) -> None:
    project.write("state", "mine, and nowhere else\n")
    command = command_to_proto(Command.of("sh", "done.sh", "state"))
    mitigation = pb.Mitigation(actions=[pb.Action(run_command=pb.RunCommand(command=command))], automatic=True)
    outcome = await Applier(project.path, LocalRunner(logs), interactive=True, commands=SCRIPTS).apply(
        mitigation, CHECK
    )
    assert outcome.state is State.FAILED
    assert "state, which is modified; commit or stash it first" in outcome.reasons[0]
    assert (project.path / "state").read_text() == "mine, and nowhere else\n"


def test_a_link_put_in_the_place_of_a_file_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.write_text("theirs")
    (work / "uv.lock").write_text("ours")
    copies = keep(work, ["uv.lock", "absent.lock", "../outside"])
    assert sorted(copies) == ["absent.lock", "uv.lock"]
    (work / "uv.lock").unlink()
    (work / "uv.lock").symlink_to(outside)
    (work / "absent.lock").write_text("new")
    assert put_back(work, copies) == ["absent.lock", "uv.lock"]
    assert ((work / "uv.lock").read_text(), outside.read_text()) == ("ours", "theirs")
    assert sorted(os.listdir(work)) == ["uv.lock"]


async def test_a_lock_file_that_is_a_link_is_not_resolved_again(
    project: Repository, logs: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    for target in (tmp_path / "elsewhere", project.path / "state"):
        (project.path / "uv.lock").unlink(missing_ok=True)
        (project.path / "uv.lock").symlink_to(target)
        command = command_to_proto(Command.of("uv", "lock"))
        kind = pb.RegenerateLockfile(command=command, files=["uv.lock"])
        mitigation = pb.Mitigation(actions=[pb.Action(regenerate_lockfile=kind)])
        applier = Applier(project.path, LocalRunner(logs), base_commit="HEAD", consent=True, commands=SCRIPTS)
        outcome = await applier.apply(mitigation, CHECK)
        assert outcome.state is State.REFUSED
        assert "leads out of" in outcome.reasons[0] or "symbolic link" in outcome.reasons[0]
    assert (tmp_path / "elsewhere").read_text() == "theirs"


async def test_a_dependency_lock_is_never_a_stale_lock(project: Repository, logs: Path) -> None:
    project.write("poetry.lock", "x")
    os.utime(project.path / "poetry.lock", (1, 1))
    mitigation = pb.Mitigation(
        actions=[pb.Action(remove_stale_lock=pb.RemoveStaleLock(path="poetry.lock"))], automatic=True
    )
    outcome = await Applier(project.path, LocalRunner(logs)).apply(mitigation, CHECK)
    assert outcome.state is State.REFUSED
    assert (project.path / "poetry.lock").exists()


async def test_another_python_that_is_installed_runs_the_same_command(project: Repository, logs: Path) -> None:
    # The one that runs this test, as a person who has it on the search path would be offered it.
    environment = {"PATH": f"{sys.base_prefix}/bin", "HOME": str(project.path.parent)}
    runtimes = [one for one in installed_runtimes(environment, project.path) if one.name == "python"]
    (other,) = [one for one in runtimes if one.directory == f"{sys.base_prefix}/bin"]
    kind = pb.SwitchRuntime(name="python", version=other.version, directory=other.directory)
    mitigation = pb.Mitigation(actions=[pb.Action(switch_runtime=kind)], automatic=True)
    command = Command.of("python", "-c", "import sys; print(sys.version.split()[0], sys.prefix)")
    unknown = await Applier(project.path, LocalRunner(logs)).apply(mitigation, command)
    assert unknown.state is State.REFUSED
    applier = Applier(project.path, LocalRunner(logs), runtimes=runtimes)
    outcome = await applier.apply(mitigation, command)
    assert outcome.state is State.APPLIED, outcome.reasons
    ran = await LocalRunner(logs).run(outcome.rerun, project.path)
    place = project.path / f".autopack-python-{other.version}"
    assert ran.output.read_text().split() == [other.version, str(place)]
    assert outcome.changed == outcome.created == ()  # no part of a commit


def test_a_runtime_in_the_workspace_is_not_offered(tmp_path: Path) -> None:
    planted = tmp_path / "bin"
    planted.mkdir()
    (planted / "node").write_text("#!/bin/sh\necho v99.0.0\n")
    (planted / "node").chmod(0o755)
    assert not [one for one in installed_runtimes({"PATH": str(planted)}, tmp_path) if one.name == "node"]
    found = installed_runtimes({"PATH": str(planted)}, tmp_path / "elsewhere")
    assert [(one.version, one.directory) for one in found if one.name == "node"] == [("99.0.0", str(planted))]
