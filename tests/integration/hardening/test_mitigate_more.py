"""Actions with a command of their own, pauses and locks, applied in a real repository."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto, duration_to_proto
from autopack_kit.safe_actions import OwnCommands

if TYPE_CHECKING:
    from tests.integration.hardening.conftest import Repository

TEST = Command.of("make", "check")
# Scripts of the repository stand for a formatter and for a package manager.
REWRITE = "sh"
SCRIPTS = OwnCommands(
    run=frozenset([(REWRITE, "lock.sh"), (REWRITE, "wide.sh")]),
    formatters=frozenset([(REWRITE, "fmt.sh"), (REWRITE, "greedy.sh")]),
    edits=frozenset(["-s"]),
)
"""What stands in for the packaged patterns' own."""


@pytest.fixture
def project(repository: Repository) -> Repository:
    repository.write("a.py", "x=1\n")
    repository.write("b.py", "y=1\n")
    repository.write("uv.lock", "old\n")
    repository.write("fmt.sh", 'for f in "$@"; do echo "formatted" > "$f"; done\n')
    repository.write("greedy.sh", 'echo "formatted" > a.py; echo other > b.py\n')
    repository.write("lock.sh", "echo new > uv.lock\n")
    repository.write("wide.sh", "echo new > uv.lock; echo other > a.py\n")
    repository.commit()
    return repository


def applier(project: Repository, tmp_path: Path, **more: object) -> Applier:
    logs = tmp_path / "logs"
    logs.mkdir(exist_ok=True)
    return Applier(project.path, LocalRunner(logs), base_commit="HEAD", commands=SCRIPTS, **more)  # type: ignore[arg-type]


def formatter(*words: str, paths: tuple[str, ...] = ("a.py",)) -> pb.Mitigation:
    command = command_to_proto(Command.of(*words, *paths))
    return pb.Mitigation(
        actions=[pb.Action(run_formatter=pb.RunFormatter(command=command, paths=paths))], automatic=True
    )


def lockfile(*words: str, file: str = "uv.lock") -> pb.Mitigation:
    kind = pb.RegenerateLockfile(command=command_to_proto(Command.of(*words)), files=[file])
    return pb.Mitigation(actions=[pb.Action(regenerate_lockfile=kind)], automatic=True)


def edited(command: Command) -> pb.Mitigation:
    return pb.Mitigation(actions=[pb.Action(edit_command=pb.EditCommand(command=command_to_proto(command)))])


def lock(path: str, min_age: int = 0) -> pb.Mitigation:
    kind = pb.RemoveStaleLock(path=path, min_age=duration_to_proto(timedelta(seconds=min_age)))
    return pb.Mitigation(actions=[pb.Action(remove_stale_lock=kind)], automatic=True)


def retry(attempts: int, seconds: float, longest: float) -> pb.Mitigation:
    kind = pb.RetryWithBackoff(
        attempts=attempts,
        initial=duration_to_proto(timedelta(seconds=seconds)),
        longest=duration_to_proto(timedelta(seconds=longest)),
    )
    return pb.Mitigation(actions=[pb.Action(retry_with_backoff=kind)], automatic=True)


async def test_a_formatter_rewrites_its_files_and_can_be_undone(project: Repository, tmp_path: Path) -> None:
    one = applier(project, tmp_path)
    outcome = await one.apply(formatter(REWRITE, "fmt.sh"), TEST)
    assert (outcome.state, outcome.changed) == (State.APPLIED, ("a.py",))
    assert b"+formatted" in outcome.diff
    assert outcome.rerun == TEST
    await one.undo(outcome)
    assert (project.path / "a.py").read_text() == "x=1\n"


async def test_a_formatter_that_rewrites_another_file_is_undone(project: Repository, tmp_path: Path) -> None:
    outcome = await applier(project, tmp_path).apply(formatter(REWRITE, "greedy.sh"), TEST)
    assert outcome.state is State.FAILED
    assert "b.py" in outcome.reasons[0]
    assert (project.path / "a.py").read_text() == "x=1\n"
    assert (project.path / "b.py").read_text() == "y=1\n"


@pytest.mark.parametrize(
    ("mitigation", "more", "words"),
    [
        (formatter(REWRITE, "fmt.sh", paths=("../x.py",)), {}, "no file of the workspace"),
        (formatter(REWRITE, "fmt.sh"), {"scope": ("docs/**",)}, "outside the scope"),
        (formatter("rm", "-r"), {}, "'rm'"),
        (formatter("black", "--force"), {}, "--force"),
        (lockfile(REWRITE, "lock.sh"), {}, "needs consent"),
        (lockfile(REWRITE, "lock.sh", file="a.py"), {"consent": True}, "a.py is no lock file"),
        (lockfile("curl", "http://x"), {"consent": True}, "'curl'"),
        (edited(Command.of("make", "check", "-s")), {}, "needs consent"),
        (edited(Command.of("make", "check", "--no-verify")), {"consent": True}, "--no-verify"),
        (edited(Command.of("make", "check", "-s", cwd="sub")), {"consent": True}, "sub is no directory"),
        (edited(Command.of("make", "-s", env={"A": "b"})), {"consent": True}, "more than the words"),
        (lock("a.py"), {}, "is no lock"),
        (lock("../x.lock"), {}, "no file of the workspace"),
        (lock("uv.lock"), {}, "touched"),
        (retry(9, 1, 2), {}, "too often or too long"),
        (retry(1, 600, 600), {}, "too often or too long"),
        (pb.Mitigation(actions=[pb.Action()], automatic=True), {}, "does not know"),
    ],
)
async def test_what_is_refused_touches_nothing(
    project: Repository, tmp_path: Path, mitigation: pb.Mitigation, more: dict[str, object], words: str
) -> None:
    outcome = await applier(project, tmp_path, **more).apply(mitigation, TEST)
    assert outcome.state is State.REFUSED
    assert words in " ".join(outcome.reasons)
    assert project.git("status", "--porcelain") == ""


async def test_a_lock_file_is_resolved_again_with_consent_and_shown(project: Repository, tmp_path: Path) -> None:
    outcome = await applier(project, tmp_path, consent=True).apply(lockfile(REWRITE, "lock.sh"), TEST)
    assert (outcome.state, outcome.changed) == (State.APPLIED, ("uv.lock",))
    assert b"-old" in outcome.diff
    assert b"+new" in outcome.diff


async def test_a_resolution_that_changes_more_than_the_lock_file_is_undone(project: Repository, tmp_path: Path) -> None:
    outcome = await applier(project, tmp_path, consent=True).apply(lockfile(REWRITE, "wide.sh"), TEST)
    assert outcome.state is State.FAILED
    assert project.git("status", "--porcelain") == ""


async def test_another_command_is_run_instead_with_consent(project: Repository, tmp_path: Path) -> None:
    other = Command.of("make", "check", "-s")
    outcome = await applier(project, tmp_path, consent=True).apply(edited(other), TEST)
    assert (outcome.state, outcome.rerun) == (State.APPLIED, other)


async def test_a_lock_that_nobody_holds_is_removed_and_one_that_is_open_is_not(
    project: Repository, tmp_path: Path
) -> None:
    file = project.write(".git/index.lock", "")
    os.utime(file, (time.time() - 3600,) * 2)
    with file.open():
        held = await applier(project, tmp_path).apply(lock(".git/index.lock"), TEST)
    assert held.state is State.REFUSED
    assert "has .git/index.lock open" in held.reasons[0]
    left = await applier(project, tmp_path).apply(lock(".git/index.lock"), TEST)
    assert left.state is State.APPLIED
    assert not file.exists()


async def test_a_pause_runs_the_same_command_again(project: Repository, tmp_path: Path) -> None:
    outcome = await applier(project, tmp_path).apply(retry(3, 0.01, 1), TEST)
    assert (outcome.state, outcome.rerun) == (State.APPLIED, TEST)


@pytest.mark.parametrize(
    ("env", "words"),
    [({"LD_PRELOAD": "x"}, "LD_PRELOAD"), ({"NODE_OPTIONS": "--require /x"}, "NODE_OPTIONS"), ({"PORT": "0"}, "")],
)
async def test_only_harmless_variables_with_harmless_values_are_set(
    project: Repository, tmp_path: Path, env: dict[str, str], words: str
) -> None:
    mitigation = pb.Mitigation(actions=[pb.Action(set_env=pb.SetEnv(env=env))], automatic=True)
    outcome = await applier(project, tmp_path).apply(mitigation, TEST)
    assert outcome.state is (State.REFUSED if words else State.APPLIED)
    assert words in " ".join(outcome.reasons)
