"""What a crafted log, answer or repository must not bring the applier to do; each was done by it once, or by others."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.mitigate_git import Git
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto
from autopack_kit.safe_actions import OwnCommands

from tests.integration.hardening.conftest import Repository
from tests.integration.hardening.scenario_stage import digest

FAILED = Command.of("false")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def _mitigation(*actions: pb.Action) -> pb.Mitigation:
    return pb.Mitigation(actions=actions, automatic=True)


@pytest.mark.parametrize("what", ["another commit", "gone", "behind a link"])
def test_a_nested_repository_that_had_changed_before_has_not_changed_since(repository: Repository, what: str) -> None:
    nested = Repository(repository.path / "third/nested")
    nested.write("file", "one\n")
    nested.commit()
    repository.commit()
    nested.write("file", "two\n")
    match what:
        case "another commit":
            nested.commit()
        case "gone":
            shutil.rmtree(nested.path)
        case _:
            (repository.path / "third").rename(repository.path / "other")
            (repository.path / "third").symlink_to("other")
    git = Git(repository.path)
    assert git.changed() != {}
    assert git.changed_since(git.snapshot()) == []


def test_a_nested_repository_runs_nothing_when_the_workspace_is_looked_at(
    repository: Repository, tmp_path: Path
) -> None:
    """To see whether it is dirty, git runs another one in it, with the configuration that it finds there."""
    repository.write("a", "a\n")
    nested = Repository(repository.path / "nested")
    nested.write("file", "one\n")
    nested.commit()
    repository.commit()
    witness = tmp_path / "ran"
    for name in ("core.fsmonitor", "filter.x.clean"):
        nested.git("config", name, f"touch {witness};:")
    nested.write(".gitattributes", "* filter=x\n")
    nested.write("file", "two\n")
    repository.write("a", "b\n")
    git = Git(repository.path)
    tree = git.snapshot()
    assert git.changed() == {"a": " M"}
    repository.write("a", "c\n")
    assert git.changed_since(tree) == ["a"]
    assert b"+c" in git.diff(tree, ["a"], 1000)
    git.restore(["a"], tree)
    assert (repository.path / "a").read_text() == "b\n"
    assert not witness.exists()


async def test_a_large_file_of_the_base_is_restored_and_not_removed(repository: Repository, logs: Path) -> None:
    large = repository.path / "large.bin"
    large.write_bytes(bytes(17 << 20))
    base = repository.commit()
    large.write_bytes(b"small")
    restore = pb.RestoreOutOfScope(paths=["large.bin"])
    applier = Applier(repository.path, LocalRunner(logs), base_commit=base, scope=["src/**"])
    outcome = await applier.apply(_mitigation(pb.Action(restore_out_of_scope=restore)), FAILED)
    assert outcome.state is State.APPLIED, outcome.reasons
    assert large.stat().st_size == 17 << 20
    await applier.undo(outcome)
    assert large.read_bytes() == b"small"


def _run(*words: str) -> pb.Mitigation:
    return _mitigation(pb.Action(run_command=pb.RunCommand(command=command_to_proto(Command.of(*words)))))


def _edit(*words: str) -> pb.Mitigation:
    return _mitigation(pb.Action(edit_command=pb.EditCommand(command=command_to_proto(Command.of(*words)))))


def _format(*words: str) -> pb.Mitigation:
    kind = pb.RunFormatter(command=command_to_proto(Command.of(*words)), paths=[words[-1]])
    return _mitigation(pb.Action(run_formatter=kind))


@pytest.mark.parametrize(
    ("mitigation", "failed"),
    [
        (_run("python3", "-c", "open('stolen','w')"), FAILED),
        (_run("sh", "tool.sh"), FAILED),
        (_run("pip", "install", "--quiet", "reqeusts"), FAILED),
        (_run("npx", "left-pad-cli"), FAILED),
        (_run("git", "push", "--mirror"), FAILED),
        (_run("go", "mod", "vendor", "-e"), FAILED),
        (_format("python3", "-c", "open('stolen','w')", "a.py"), Command.of("python3", "-m", "black", "a.py")),
        (_format("sh", "tool.sh", "a.py"), Command.of("sh", "lint.sh")),
        (_format("black", "-q", "--config=/tmp/x", "a.py"), Command.of("black", "a.py")),
        (_edit("python3", "-c", "open('stolen','w')"), Command.of("python3", "-m", "pytest")),
        (_edit("sh", "-c", "stolen"), Command.of("sh", "stolen")),
        (_edit("rsync", "backup", "live"), Command.of("rsync", "live", "backup")),
        (_edit("git", "push", "origin", "main", "--delete"), Command.of("git", "push", "origin", "main")),
    ],
)
async def test_only_what_the_packaged_patterns_say_is_run(
    repository: Repository, logs: Path, mitigation: pb.Mitigation, failed: Command
) -> None:
    """Whoever answers in the place of the service, no words of theirs are run, consent or not."""
    repository.write("a.py", "a\n")
    repository.write("tool.sh", "touch stolen\n")
    repository.commit()
    for consent in (False, True):
        outcome = await Applier(repository.path, LocalRunner(logs), consent=consent).apply(mitigation, failed)
        assert outcome.state is State.REFUSED
        assert "of a mitigation" in " ".join(outcome.reasons)
    assert not (repository.path / "stolen").exists()


async def test_pip_is_brought_into_no_python_outside_of_the_workspace(repository: Repository, logs: Path) -> None:
    repository.write("a.py", "a\n")
    mitigation = _run("python", "-m", "ensurepip", "--upgrade")
    failed = Command.of("python", "-m", "pip", "install", ".")
    outside = Applier(repository.path, LocalRunner(logs), search_path="/usr/bin:/bin")
    assert "it needs consent" in " ".join(outside.check(mitigation, failed))
    own = repository.write(".venv/bin/python", "#!/bin/sh\n")
    own.chmod(0o755)
    inside = Applier(repository.path, LocalRunner(logs), search_path=f"{own.parent}:/usr/bin:/bin")
    assert inside.check(mitigation, failed) == ()


@pytest.mark.parametrize("line", ["git push origin main", "npm publish", "./gradlew publishToMavenLocal", "make ship"])
def test_what_may_not_run_twice_is_not_run_again_unasked(repository: Repository, logs: Path, line: str) -> None:
    kind = pb.RetryWithBackoff(attempts=1)
    mitigation = _mitigation(pb.Action(retry_with_backoff=kind))
    failed = Command.of(*line.split())
    reasons = Applier(repository.path, LocalRunner(logs)).check(mitigation, failed)
    assert reasons == ("it needs consent: it is not known whether this command may run twice",)
    assert Applier(repository.path, LocalRunner(logs), consent=True).check(mitigation, failed) == ()
    assert Applier(repository.path, LocalRunner(logs)).check(mitigation, Command.of("npm", "ci")) == ()


MESS = """
echo changed > mine/new.txt; rm mine/gone.txt; echo changed > tracked; rm private; mkdir private; echo x > private/x
echo x > mine/made; rm -r sub; echo x > sub; echo y > made; chmod 600 mode; echo more >> mode
"""


async def test_what_did_not_help_leaves_no_trace_of_what_was_never_committed(
    repository: Repository, logs: Path
) -> None:
    """Files that git does not know, permissions that it does not keep, a file where a directory was and a directory
    where a file was."""
    for path in ("tracked", "private", "sub/deep", "mode"):
        repository.write(path, f"{path}\n")
    (repository.path / "private").chmod(0o600)
    (repository.path / "mode").chmod(0o664)
    repository.commit()
    repository.write("mine/new.txt", "mine\n").chmod(0o640)
    repository.write("mine/gone.txt", "mine too\n")
    repository.write("private", "mine as well\n")
    before = digest(repository.path)
    # Not the ones of the packaged patterns, but no less than what such a tool may do.
    words = ("sh", "-ec", MESS)
    applier = Applier(
        repository.path, LocalRunner(logs), commands=OwnCommands(frozenset([words]), frozenset(), frozenset())
    )
    kind = pb.RunCommand(command=command_to_proto(Command.of(*words)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autopack_client.mitigate_more.unsafe_words", lambda words, is_whole: "")
        outcome = await applier.apply(_mitigation(pb.Action(run_command=kind)), FAILED)
    assert outcome.state is State.APPLIED, outcome.reasons
    assert {"mine/new.txt", "mine/gone.txt", "tracked", "mode"} <= set(outcome.changed)
    await applier.undo(outcome)
    after = digest(repository.path)
    assert {path: one for path, one in after.items() if not path.startswith(".git/")} == {
        path: one for path, one in before.items() if not path.startswith(".git/")
    }


async def test_a_file_in_an_untracked_directory_is_a_person_s_own_too(repository: Repository, logs: Path) -> None:
    repository.write("README", "x\n")
    repository.commit()
    repository.write("mine/new/a.py", "a  =  1\n")
    for path in ("mine/new/a.py",):
        mitigation = _format("ruff", "format", path)
        reasons = Applier(repository.path, LocalRunner(logs), interactive=True).check(mitigation, FAILED)
        assert reasons == (f"{path} is modified; commit or stash it first",)
        assert Applier(repository.path, LocalRunner(logs)).check(mitigation, FAILED) == ()


async def test_the_lock_of_a_git_that_waits_for_an_editor_is_not_stale(repository: Repository, logs: Path) -> None:
    """It has the lock, and has it not open; for as long as the person writes the message nobody touches it."""
    repository.write("a", "a\n")
    repository.commit()
    repository.write("a", "b\n")
    lock = repository.path / ".git/index.lock"
    environment = {**os.environ, "GIT_EDITOR": f"touch {logs}/editing; exec sleep 60 #"}
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    remove = pb.RemoveStaleLock(path=".git/index.lock")
    remove.min_age.FromSeconds(60)
    mitigation = _mitigation(pb.Action(remove_stale_lock=remove))
    applier = Applier(repository.path, LocalRunner(logs))
    words = ("git", *identity, "commit", "-a")
    process = await asyncio.create_subprocess_exec(*words, cwd=repository.path, env=environment, start_new_session=True)
    try:
        while not (logs / "editing").exists():
            assert process.returncode is None
            await asyncio.sleep(0.01)
        os.utime(lock, (1, 1))
        outcome = await applier.apply(mitigation, FAILED)
        assert outcome.state is State.REFUSED
        assert f"git is at work here, as process {process.pid}" in outcome.reasons
        assert lock.exists()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    lock.touch()
    os.utime(lock, (1, 1))
    assert (await applier.apply(mitigation, FAILED)).state is State.APPLIED
    assert not lock.exists()


async def test_a_package_that_the_run_wrote_into_the_install_command_is_not_installed_unasked(
    repository: Repository, logs: Path
) -> None:
    """As detection reads it from a workflow that the run has changed: the manifests are all as they were."""
    repository.write("requirements.txt", "PyYAML\n")
    base = repository.commit()
    words = ("python", "-m", "pip", "install", "-r", "requirements.txt", "wicked")
    message = command_to_proto(Command.of(*words))
    install = pb.InstallDeclared(commands=[message], distributions=["PyYAML"], declared_in="requirements.txt")
    facts = [pb.ProjectFacts(workdir=".", ecosystem="python", install=[message])]
    applier = Applier(repository.path, LocalRunner(logs), facts=facts, base_commit=base)
    outcome = await applier.apply(_mitigation(pb.Action(install_declared=install)), FAILED)
    assert outcome.state is State.REFUSED
    assert f"it needs consent: the base commit does not declare wicked of {' '.join(words)}" in outcome.reasons
    assert (
        Applier(repository.path, LocalRunner(logs), facts=facts, base_commit=base, consent=True).check(
            _mitigation(pb.Action(install_declared=install)), FAILED
        )
        == ()
    )
