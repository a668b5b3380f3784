"""What a crafted log, answer or repository must not bring the applier to do; each was done by it once, or by others."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.mitigate_git import Git
from autopack_kit.commands import Command

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
