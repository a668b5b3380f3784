"""What a run changed is captured whole, whatever the agent did to its own index, branch and names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_kit.errors import Aborted, FailedPrecondition
from autopack_orchestrator.adapters.git import (
    Change,
    ChangeKind,
    Identity,
    Workspace,
    branch_tip,
    changes,
    commit,
    move_branch,
    patch,
    restore_paths,
    worktree_tree,
)
from autopack_orchestrator.adapters.git.command import run_git

if TYPE_CHECKING:
    from tests.integration.orchestrator.conftest import World

AGENT = Identity("Agent", "agent@example.com")
IDENTITY = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")


@pytest.fixture
async def workspace(world: World) -> Workspace:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    return await world.workspaces.create(mirror, world.head, "autopack/b/r", world.worktrees / "r", "r")


def rewrite(workspace: Workspace) -> None:
    """One change of every kind, with names that are not UTF-8, and with a line break."""
    tree = workspace.path
    (tree / "src" / "a.py").write_text("changed\n")
    (tree / "src" / "b.py").rename(tree / "moved.py")
    (tree / "run.sh").chmod(0o644)
    (tree / "blob.bin").write_bytes(b"\0new" * 999)
    (tree / "link").unlink()
    (tree / "link").write_text("no link any more")
    (tree / "empty").touch()
    (tree / "new.bin").write_bytes(os.urandom(5000))
    (tree / "dir with space").mkdir()
    (tree / "dir with space" / 'ü\n\t".txt').write_text("x")
    Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_bytes(b"\xff\xfe")
    (tree / ".gitignore").unlink()


async def test_every_kind_of_change_is_listed(workspace: Workspace) -> None:
    rewrite(workspace)
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace))
    assert {change.path: (change.kind, change.old_path) for change in found} == {
        ".gitignore": (ChangeKind.DELETED, None),
        "blob.bin": (ChangeKind.MODIFIED, None),
        "caf\udce9": (ChangeKind.ADDED, None),
        'dir with space/ü\n\t".txt': (ChangeKind.ADDED, None),
        "empty": (ChangeKind.ADDED, None),
        "link": (ChangeKind.TYPE_CHANGED, None),
        "moved.py": (ChangeKind.RENAMED, "src/b.py"),
        "new.bin": (ChangeKind.ADDED, None),
        "run.sh": (ChangeKind.MODIFIED, None),
        "src/a.py": (ChangeKind.MODIFIED, None),
    }
    assert Change(ChangeKind.RENAMED, "moved.py", "src/b.py") in found
    assert {path for change in found for path in change.paths} >= {"moved.py", "src/b.py"}


async def test_the_patch_applies_on_the_base_and_gives_the_same_tree(
    world: World, workspace: Workspace, tmp_path: Path
) -> None:
    rewrite(workspace)
    tree = await worktree_tree(workspace)
    size = await patch(workspace.mirror, workspace.base, tree, tmp_path / "run.patch")
    assert size == (tmp_path / "run.patch").stat().st_size > 5000
    world.git("apply", "--binary", "--index", str(tmp_path / "run.patch"))
    assert world.git("write-tree") == tree


async def test_nothing_changed_gives_the_tree_of_the_base_and_an_empty_patch(
    world: World, workspace: Workspace, tmp_path: Path
) -> None:
    tree = await worktree_tree(workspace)
    assert tree == world.git("rev-parse", "HEAD^{tree}")
    assert await changes(workspace.mirror, workspace.base, tree) == []
    assert await patch(workspace.mirror, workspace.base, tree, tmp_path / "run.patch") == 0
    assert await commit(workspace, tree, "nothing", AGENT) == workspace.base


async def test_capturing_leaves_the_index_of_the_agent_as_it_is(world: World, workspace: Workspace) -> None:
    assert workspace.git_dir is not None
    (workspace.path / "staged").touch()
    world.git("add", "staged", cwd=workspace.path)
    (workspace.path / "unstaged").touch()
    index, status = (workspace.git_dir / "index").read_bytes(), world.git("status", "--porcelain", cwd=workspace.path)
    tree = await worktree_tree(workspace)
    assert world.git("ls-tree", "--name-only", tree, "staged", "unstaged", cwd=workspace.path) == "staged\nunstaged"
    assert (workspace.git_dir / "index").read_bytes() == index
    assert world.git("status", "--porcelain", cwd=workspace.path) == status


async def test_nothing_hides_behind_flags_of_the_index_or_a_broken_git_file(world: World, workspace: Workspace) -> None:
    world.git("update-index", "--assume-unchanged", "src/a.py", cwd=workspace.path)
    world.git("update-index", "--skip-worktree", "src/b.py", cwd=workspace.path)
    for name in ("a.py", "b.py"):
        (workspace.path / "src" / name).write_text("hidden\n")
    assert world.git("status", "--porcelain", cwd=workspace.path) == ""
    (workspace.path / ".git").unlink()
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace))
    assert [change.path for change in found] == ["src/a.py", "src/b.py"]


async def test_what_preparing_leaves_stays_out_of_the_result_and_of_the_agents_own_commits(
    world: World, workspace: Workspace
) -> None:
    for name in (".venv/bin/python", "node_modules/x/index.js", "src/__pycache__/a.pyc", "ignored/x", "made/by/us"):
        (workspace.path / name).parent.mkdir(parents=True)
        (workspace.path / name).touch()
    (workspace.path / "src" / "c.py").touch()
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace, exclude=["made/"]))
    assert [change.path for change in found] == ["src/c.py"]
    world.git("add", "-A", cwd=workspace.path)
    assert world.git("diff", "--cached", "--name-only", cwd=workspace.path) == "made/by/us\nsrc/c.py"


async def test_an_ignored_file_that_the_agent_committed_is_kept(world: World, workspace: Workspace) -> None:
    (workspace.path / "ignored").mkdir()
    (workspace.path / "ignored" / "x").write_text("1")
    world.git("add", "-f", "ignored/x", cwd=workspace.path)
    world.git(*IDENTITY, "commit", "-qm", "on purpose", cwd=workspace.path)
    (workspace.path / "ignored" / "x").write_text("2")
    tree = await worktree_tree(workspace)
    assert world.git("cat-file", "blob", f"{tree}:ignored/x", cwd=workspace.path) == "2"


async def test_a_commit_grows_from_the_agents_own_commits(world: World, workspace: Workspace) -> None:
    (workspace.path / "one").touch()
    world.git("add", "-A", cwd=workspace.path)
    world.git(*IDENTITY, "commit", "-qm", "by the agent", cwd=workspace.path)
    (workspace.path / "two").touch()
    tree = await worktree_tree(workspace)
    sha = await commit(workspace, tree, "the rest\n\nwith a body é\n", AGENT)
    assert await branch_tip(workspace) == sha
    log = world.git("log", "--format=%s %an %ae", workspace.branch, cwd=workspace.mirror.path).splitlines()
    assert log[0] == "the rest Agent agent@example.com"
    assert log[1].startswith("by the agent ")
    assert world.git("rev-parse", f"{sha}^{{tree}}", cwd=workspace.mirror.path) == tree
    assert await commit(workspace, tree, "again", AGENT) == sha


@pytest.mark.parametrize(
    "deed",
    [
        ("checkout", "-q", "--orphan", "lonely"),
        ("checkout", "-q", "--detach"),
        ("checkout", "-q", "-b", "elsewhere"),
        ("update-ref", "-d", "refs/heads/autopack/b/r"),
        (*IDENTITY, "commit", "-q", "--amend", "-m", "rewritten"),
        ("symbolic-ref", "HEAD", "refs/heads/nowhere"),
    ],
)
async def test_whatever_the_agent_did_to_its_branch_the_result_grows_from_the_base(
    world: World, workspace: Workspace, deed: tuple[str, ...]
) -> None:
    world.git("commit", "-q", "--allow-empty", "-m", "later work of the user")
    world.git(*deed, cwd=workspace.path)
    (workspace.path / "new").touch()
    sha = await commit(workspace, await worktree_tree(workspace), "result", AGENT)
    assert await branch_tip(workspace) == sha
    parents = world.git("log", "-1", "--format=%P", sha, cwd=workspace.mirror.path)
    assert parents == workspace.base
    found = await changes(workspace.mirror, workspace.base, sha)
    assert found == [Change(ChangeKind.ADDED, "new")]


async def test_a_branch_that_moved_meanwhile_is_not_overwritten(workspace: Workspace) -> None:
    (workspace.path / "new").touch()
    sha = await commit(workspace, await worktree_tree(workspace), "result", AGENT)
    with pytest.raises(Aborted) as caught:
        await move_branch(workspace.mirror, workspace.branch, workspace.base, workspace.base)
    assert caught.value.reason == "BRANCH_MOVED"
    assert await branch_tip(workspace) == sha


async def test_repositories_inside_the_worktree_do_not_break_the_capture(world: World, workspace: Workspace) -> None:
    for number in range(3):
        world.git("init", "-q", f"unborn{number}", cwd=workspace.path)
        (workspace.path / f"unborn{number}" / "file").touch()
    world.git("clone", "-q", str(world.repo), "embedded", cwd=workspace.path)
    (workspace.path / "new").touch()
    os.mkfifo(workspace.path / "fifo")
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace))
    assert [change.path for change in found] == ["embedded", "new"]
    await restore_paths(workspace, ["embedded"])
    assert not (workspace.path / "embedded").exists()


async def test_a_nested_repository_of_the_agent_runs_nothing_when_a_run_is_captured(
    world: World, workspace: Workspace, tmp_path: Path
) -> None:
    """To see whether a nested repository is dirty, git runs another one in it, with the configuration that it finds."""
    nested = workspace.path / "nested"
    world.git("clone", "-q", str(world.repo), "nested", cwd=workspace.path)
    first = await commit(workspace, await worktree_tree(workspace), "nested", AGENT)
    world.git("update-ref", "HEAD", first, cwd=workspace.path)
    witness = tmp_path / "ran"
    for name in ("core.fsmonitor", "filter.x.clean"):
        world.git("config", name, f"touch {witness};:", cwd=nested)
    (nested / ".gitattributes").write_text("* filter=x\n")
    for path in nested.iterdir():
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"more\n")
    (workspace.path / "new").touch()
    found = await changes(workspace.mirror, first, await worktree_tree(workspace))
    assert [change.path for change in found] == ["new"]
    assert not witness.exists()
    for name in ("core.fsmonitor", "filter.x.clean"):
        world.git("config", "--unset", name, cwd=nested)
    world.git("commit", "-q", "-a", "-m", "more", cwd=nested)
    found = await changes(workspace.mirror, first, await worktree_tree(workspace))
    assert [change.path for change in found] == ["nested", "new"]


async def test_a_link_in_the_place_of_a_directory_with_a_nested_repository_is_captured(
    world: World, workspace: Workspace
) -> None:
    (workspace.path / "third").mkdir()
    world.git("clone", "-q", str(world.repo), "third/nested", cwd=workspace.path)
    first = await commit(workspace, await worktree_tree(workspace), "nested", AGENT)
    world.git("update-ref", "HEAD", first, cwd=workspace.path)
    (workspace.path / "third").rename(workspace.path / "other")
    (workspace.path / "third").symlink_to("other")
    found = await changes(workspace.mirror, first, await worktree_tree(workspace))
    assert {change.path for change in found} == {"third", "other/nested"}


async def test_only_the_named_paths_are_restored(world: World, workspace: Workspace) -> None:
    rewrite(workspace)
    out_of_scope = [
        "src/a.py",
        "src/b.py",
        "run.sh",
        "link",
        "new.bin",
        'dir with space/ü\n\t".txt',
        "caf\udce9",
        "blob.bin",
    ]
    await restore_paths(workspace, out_of_scope)
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace))
    assert {change.path for change in found} == {".gitignore", "empty", "moved.py"}
    assert (workspace.path / "link").readlink() == Path("src/a.py")
    assert (workspace.path / "run.sh").stat().st_mode & 0o111
    assert not (workspace.path / "dir with space").exists()


async def test_restoring_replaces_a_directory_by_its_file_and_a_file_by_its_directory(workspace: Workspace) -> None:
    tree = workspace.path
    (tree / "run.sh").unlink()
    (tree / "run.sh").mkdir()
    (tree / "run.sh" / "inside").touch()
    subprocess.run(["rm", "-r", str(tree / "src")], check=True)  # noqa: ASYNC221
    (tree / "src").touch()
    found = await changes(workspace.mirror, workspace.base, await worktree_tree(workspace))
    await restore_paths(workspace, [path for change in found for path in change.paths])
    assert await changes(workspace.mirror, workspace.base, await worktree_tree(workspace)) == []


async def test_restoring_never_follows_a_link_out_of_the_worktree(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("precious")
    (outside / "new").write_text("precious")
    subprocess.run(["rm", "-r", str(workspace.path / "src")], check=True)  # noqa: ASYNC221
    (workspace.path / "src").symlink_to(outside)
    await restore_paths(workspace, ["src", "src/a.py", "src/b.py", "src/new"])
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"a.py": "precious", "new": "precious"}
    assert await changes(workspace.mirror, workspace.base, await worktree_tree(workspace)) == []


async def test_a_worktree_that_was_deleted_is_a_clear_error(workspace: Workspace) -> None:
    subprocess.run(["rm", "-r", str(workspace.path)], check=True)  # noqa: ASYNC221
    with pytest.raises(FailedPrecondition) as caught:
        await worktree_tree(workspace)
    assert caught.value.reason == "WORKSPACE_GONE"


async def test_what_a_user_ignores_for_themselves_and_their_attributes_change_no_result(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").mkdir()
    (tmp_path / "git" / "ignore").write_text("*.md\n")
    (tmp_path / "git" / "attributes").write_text("*.txt text eol=crlf\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    workspace = await world.workspaces.create(mirror, world.head, "autopack/b/r", world.worktrees / "r", "r")
    (workspace.path / "notes.md").write_text("kept\n")
    (workspace.path / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    tree = await worktree_tree(workspace)
    assert {change.path for change in await changes(workspace.mirror, workspace.base, tree)} == {"notes.md", "dos.txt"}
    assert (await run_git("show", f"{tree}:dos.txt", git_dir=mirror.path)).stdout == b"one\r\ntwo\r\n"
