"""Sparse checkouts, submodules, Git LFS, and untracked files that are copied."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from autopack_client.facts import declared
from autopack_kit.errors import FailedPrecondition
from autopack_orchestrator.adapters import git as adapter
from autopack_orchestrator.core.sources import WHOLE, Checkout

from tests.integration.orchestrator.conftest import World, git

IDENTITY = adapter.Identity("Robot", "robot@example.com")


async def made(world: World, name: str = "one", options: Checkout = WHOLE, lfs: bool = False) -> adapter.Workspace:
    source = await world.source()
    mirror = await world.mirrors.ensure(source, world.head)
    origin = adapter.Origin(b"", str(source.git_dir)) if lfs else None
    path = world.worktrees / name
    return await world.workspaces.create(mirror, world.head, f"autopack/b/{name}", path, name, options, origin)


def wide(world: World) -> None:
    """Three services and a library, with files at every level."""
    for name in ("services/api/src/a.py", "services/web/index.js", "services/notes.md", "libs/core/x.py", "docs/d.md"):
        file = world.repo / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name + "\n")
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "-qm", "wide")


def files(tree: adapter.Workspace) -> set[str]:
    top = tree.path
    return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() and ".git" not in path.parts}


async def test_a_sparse_worktree_has_its_directories_and_the_files_above_them(world: World) -> None:
    wide(world)
    tree = await made(world, options=Checkout(sparse_paths=("services/api", "libs/")))
    top = {".gitignore", "blob.bin", "link", "run.sh"}
    assert files(tree) == top | {"services/api/src/a.py", "services/notes.md", "libs/core/x.py"}
    assert git(tree.path, "status", "--porcelain") == ""
    assert sorted(git(tree.path, "sparse-checkout", "list").splitlines()) == ["libs", "services/api"]
    assert git(tree.path, "rev-parse", "--is-inside-work-tree") == "true"
    whole = await made(world, "two")
    assert "docs/d.md" in files(whole)
    assert git(whole.path, "status", "--porcelain") == ""


async def test_what_a_sparse_worktree_lacks_is_not_deleted_by_capturing_it(world: World) -> None:
    wide(world)
    tree = await made(world, options=Checkout(sparse_paths=("services/api",)))
    assert await adapter.worktree_tree(tree) == git(world.repo, "rev-parse", "HEAD^{tree}")
    (tree.path / "services/api/src/a.py").write_text("changed\n")
    (tree.path / "services/web").mkdir()
    (tree.path / "services/web/new.js").write_text("new\n")
    (tree.path / "docs").mkdir()
    (tree.path / "docs/d.md").write_text("rewritten\n")
    (tree.path / "services/notes.md").unlink()
    found = await adapter.changes(tree.mirror, tree.base, await adapter.worktree_tree(tree))
    assert [(change.kind.value, change.path) for change in found] == [
        ("M", "docs/d.md"),
        ("M", "services/api/src/a.py"),
        ("D", "services/notes.md"),
        ("A", "services/web/new.js"),
    ]
    await adapter.restore_paths(tree, [path for change in found for path in change.paths])
    assert await adapter.worktree_tree(tree) == git(world.repo, "rev-parse", "HEAD^{tree}")


async def test_commits_of_an_agent_in_a_sparse_worktree_keep_all_files(world: World) -> None:
    wide(world)
    tree = await made(world, options=Checkout(sparse_paths=("libs",)))
    (tree.path / "libs/core/x.py").write_text("by the agent\n")
    git(tree.path, "commit", "-qam", "mine")
    (tree.path / "libs/y.py").write_text("y\n")
    captured = await adapter.worktree_tree(tree)
    found = await adapter.changes(tree.mirror, tree.base, captured)
    assert [change.path for change in found] == ["libs/core/x.py", "libs/y.py"]
    tip = await adapter.commit(tree, captured, "More", IDENTITY)
    assert git(tree.mirror.path, "log", "--format=%s", f"{tree.base}..{tip}").splitlines() == ["More", "mine"]


async def test_a_sparse_worktree_is_found_again_and_removed_whole(world: World) -> None:
    wide(world)
    tree = await made(world, options=Checkout(sparse_paths=("libs",)))
    (again,) = world.workspaces.existing(tree.mirror)
    assert again.checkout.sparse_paths == ("libs",)
    assert await adapter.worktree_tree(again) == git(world.repo, "rev-parse", "HEAD^{tree}")
    await world.workspaces.remove(tree, delete_branch=True)
    assert list(tree.mirror.records.iterdir()) == []
    assert list((tree.mirror.path / "worktrees").glob("*")) == []


def with_submodule(world: World, tmp_path: Path) -> Path:
    """A submodule ``vendor/lib`` of the user's repository, which has one of its own."""
    for name in ("leaf", "lib"):
        other = world.repo.parent / name
        git(world.repo.parent, "init", "-q", "-b", "main", name)
        (other / f"{name}.txt").write_text(f"{name}\n")
        if name == "lib":
            git(other, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../leaf", "leaf")
        git(other, "add", "-A")
        git(other, "commit", "-qm", name)
    words = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../lib", "vendor/lib")
    git(world.repo, *words)
    git(world.repo, "commit", "-qm", "with a submodule")
    return world.repo.parent / "lib"


async def test_submodules_are_filled_as_files_and_are_no_part_of_the_change(world: World, tmp_path: Path) -> None:
    with_submodule(world, tmp_path)
    source = await world.source()
    tree = await made(world)
    assert list((tree.path / "vendor/lib").iterdir()) == []

    def below(parent: adapter.Source) -> adapter.Fetch:
        async def fetch(module: adapter.Submodule) -> tuple[adapter.Mirror, adapter.Fetch]:
            own = await adapter.open_source((parent.path / module.url).resolve(), world.roots)
            return await world.mirrors.ensure(own, module.commit), below(own)

        return fetch

    assert await adapter.fill_submodules(tree.mirror, tree.base, tree.path, below(source)) == 2
    assert (tree.path / "vendor/lib/lib.txt").read_text() == "lib\n"
    assert (tree.path / "vendor/lib/leaf/leaf.txt").read_text() == "leaf\n"
    assert not (tree.path / "vendor/lib/.git").exists()
    assert git(tree.path, "status", "--porcelain") == ""
    (tree.path / "vendor/lib/lib.txt").write_text("changed\n")
    (tree.path / "vendor/lib/more.txt").write_text("more\n")
    assert await adapter.worktree_tree(tree) == git(world.repo, "rev-parse", "HEAD^{tree}")
    (tree.path / "own.txt").write_text("own\n")
    found = await adapter.changes(tree.mirror, tree.base, await adapter.worktree_tree(tree))
    assert [change.path for change in found] == ["own.txt"]


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
async def test_lfs_files_are_pointers_unless_asked_for_and_are_stored_as_pointers(world: World) -> None:
    repo = world.repo
    git(repo, "lfs", "install", "--local", "--skip-repo")
    (repo / ".gitattributes").write_text("*.dat filter=lfs diff=lfs merge=lfs -text\n")
    (repo / ".lfsconfig").write_text("[lfs]\n\turl = http://127.0.0.1:9/elsewhere\n")
    (repo / "big.dat").write_bytes(b"large " * 1000)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "large file")
    plain = await made(world, "plain")
    assert (plain.path / "big.dat").read_text().startswith("version https://git-lfs")
    tree = await made(world, "full", Checkout(lfs=True), lfs=True)
    assert (tree.path / "big.dat").read_bytes() == b"large " * 1000
    assert await adapter.worktree_tree(tree) == git(repo, "rev-parse", "HEAD^{tree}")
    (tree.path / "new.dat").write_bytes(b"new " * 1000)
    captured = await adapter.worktree_tree(tree)
    digest = hashlib.sha256(b"new " * 1000).hexdigest()
    assert digest in git(tree.mirror.path, "cat-file", "blob", f"{captured}:new.dat")
    stored = tree.mirror.path / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    assert stored.read_bytes() == b"new " * 1000
    shutil.rmtree(repo / ".git" / "lfs")
    shutil.rmtree(tree.mirror.path / "lfs")
    with pytest.raises(FailedPrecondition) as caught:
        await made(world, "gone", Checkout(lfs=True), lfs=True)
    assert caught.value.reason == "LFS_FAILED"
    assert not (world.worktrees / "gone").exists()


async def test_untracked_files_are_copied_by_globs_and_links_are_not(world: World, tmp_path: Path) -> None:
    repo = world.repo
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key.env").write_text("secret\n")
    (repo / ".gitignore").write_text("ignored/\n.env\n*.env\n")
    for name in (".env", "sub/deep/.env", "other.txt", "node_modules/p/.env"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(f"{name}=1\n")
    (repo / "link.env").symlink_to(outside / "key.env")
    (repo / "away").symlink_to(outside)
    (repo / ".env").chmod(0o640)
    (repo / "a" / ".env").parent.mkdir()
    (repo / "a" / ".env").write_text("tracked at another commit\n")
    (repo / ".worktreeinclude").write_text("# comment\n\nother.txt\n")
    tree = await made(world)
    (tree.path / "a").write_text("a file in the way\n")
    source = await world.source()
    globs = [".env", "*.env", "!node_modules/**"]
    tree, skipped = await adapter.copy_untracked(source, tree, globs, include=False)
    assert sorted(tree.private) == [".env", "sub/deep/.env"]
    assert sorted(skipped) == ["a/.env", "link.env"]
    assert (tree.path / ".env").read_text() == ".env=1\n"
    assert (tree.path / ".env").stat().st_mode & 0o777 == 0o600
    assert not (tree.path / "away").exists()
    assert not (tree.path / "other.txt").exists()
    second = await made(world, "two")
    second, _ = await adapter.copy_untracked(source, second, [], include=True)
    assert second.private == ("other.txt",)


async def test_a_copied_file_is_in_no_result_whatever_the_agent_does_with_it(world: World) -> None:
    repo = world.repo
    (repo / ".env").write_text("TOKEN=s3cret\n")
    tree = await made(world)
    tree, _ = await adapter.copy_untracked(await world.source(), tree, [".env"], include=False)
    git(tree.path, "add", "-f", ".env")
    (tree.path / "work.txt").write_text("work\n")
    git(tree.path, "add", "-A")
    git(tree.path, "commit", "-qm", "everything")
    (tree.path / ".env").write_text("TOKEN=other\n")
    (again,) = world.workspaces.existing(tree.mirror)
    captured = await adapter.worktree_tree(again)
    found = await adapter.changes(again.mirror, again.base, captured)
    assert [change.path for change in found] == ["work.txt"]
    tip = await adapter.commit(again, captured, "Work", IDENTITY)
    assert git(again.mirror.path, "log", "--format=%s", f"{again.base}..{tip}") == "Work"
    assert git(again.mirror.path, "ls-tree", "-r", "--name-only", tip, ".env") == ""


async def test_too_many_copies_are_refused_and_nothing_is_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopack_orchestrator.adapters.git.untracked.MAX_FILES", 3)
    for number in range(4):
        (world.repo / f"{number}.env").write_text("x\n")
    tree = await made(world)
    with pytest.raises(FailedPrecondition) as caught:
        await adapter.copy_untracked(await world.source(), tree, ["*.env"], include=False)
    assert caught.value.reason == "TOO_MANY_COPIES"
    assert not list(tree.path.glob("*.env"))


async def test_a_view_knows_the_commit_and_not_what_the_worktree_points_to(world: World, tmp_path: Path) -> None:
    tree = await made(world)
    elsewhere = tmp_path / "elsewhere"
    git(tmp_path, "init", "-q", "elsewhere")
    (tree.path / ".git").write_text(f"gitdir: {elsewhere}/.git\n")
    (tree.path / "run.sh").write_text("changed\n")
    (tree.path / "new.txt").write_text("new\n")
    view = await adapter.open_view(tree, tree.base)
    assert git(tree.path, f"--git-dir={view}", f"--work-tree={tree.path}", "rev-parse", "HEAD") == tree.base
    status = git(tree.path, f"--git-dir={view}", f"--work-tree={tree.path}", "status", "--porcelain")
    assert sorted(status.split("\n")) == ["?? new.txt", "M run.sh"]


async def test_what_the_base_commit_declared_is_not_asked_of_a_repository_that_the_agent_made_up(
    world: World, tmp_path: Path
) -> None:
    (world.repo / "requirements.txt").write_text("requests\n")
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "-qm", "declares requests")
    tree = await made(world)
    forged = tmp_path / "forged"
    git(tmp_path, "clone", "-q", str(world.repo), str(forged))
    (forged / "requirements.txt").write_text("requests\nevil\n")
    git(forged, "commit", "-qam", "declares requests")
    git(forged, "replace", tree.base, "HEAD")
    (tree.path / ".git").write_text(f"gitdir: {forged}/.git\n")
    (tree.path / "requirements.txt").write_text("requests\nevil\n")

    def at_base(git_dir: Path | None = None) -> dict[str, bool]:
        found = declared(tree.path, ".", tree.base, git_dir=git_dir)
        return {item.entry.name: item.at_base for item in found}

    assert at_base()["evil"], "what is guarded against"
    assert at_base(git_dir=tree.mirror.trusted) == {"requests": True, "evil": False}
