"""What a crafted log, answer or repository must not bring the applier to do; each was done by it once, or by others."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.mitigate_git import Git
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto

from tests.integration.hardening.conftest import Repository

FAILED = Command.of("false")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def _mitigation(*actions: pb.Action) -> pb.Mitigation:
    return pb.Mitigation(actions=actions, automatic=True)


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
