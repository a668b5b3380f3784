"""Finished branches are tried out and merged without a work tree."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from autopack_kit.identity import Principal, Scope

from tests.service.orchestrator.bench import Bench, bench, fingerprint, git, repository, run

FILES = {"a.txt": "a\n", "b.txt": "b\n", "c.txt": "c\n"}


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    return repository(tmp_path / "letters", FILES)


async def made(stack: Bench, repo: Path, **scripts: str) -> str:
    """A batch of finished runs; returns its id."""
    runs = await stack.finish(repo, *(run(name, script) for name, script in scripts.items()))
    return runs[0].batch_id


async def preview(stack: Bench, batch_id: str, into: str = "") -> pb.PreviewMergeResponse:
    return await stack.client.orchestrator.PreviewMerge(pb.PreviewMergeRequest(batch_id=batch_id, into=into))


async def merge(stack: Bench, batch_id: str, branch: str, into: str = "") -> pb.MergeBatchResponse:
    request = pb.MergeBatchRequest(batch_id=batch_id, into=into, branch=branch)
    return await stack.client.orchestrator.MergeBatch(request)


async def test_branches_of_different_files_merge_and_the_tree_is_the_one_git_makes(stack: Bench, letters: Path) -> None:
    batch_id = await made(stack, letters, one="echo 1 >> a.txt", two="echo 2 >> b.txt", failing="exit 3")
    before = fingerprint(letters)
    found = await preview(stack, batch_id)
    assert fingerprint(letters) == before
    assert [(step.run_id, step.clean) for step in found.order] == [
        (f"{batch_id}.one", True), (f"{batch_id}.two", True),
    ]  # fmt: skip
    assert list(found.unfinished_run_ids) == [f"{batch_id}.failing"]
    for command in found.commands:
        git(letters, *command.argv.words[1:])
    assert git(letters, "rev-parse", "HEAD^{tree}") == found.tree_id


async def test_a_conflict_names_its_path_and_the_run_that_it_is_with(stack: Bench, letters: Path) -> None:
    batch_id = await made(
        stack, letters, one="echo 1 > a.txt", two="echo 2 > a.txt; echo 2 > b.txt", far="echo x > c.txt"
    )
    found = await preview(stack, batch_id)
    assert [(step.run_id.partition(".")[2], step.clean) for step in found.order] == [
        ("far", True), ("one", True), ("two", False),
    ]  # fmt: skip
    (conflict,) = found.order[-1].conflicts
    assert (conflict.path, list(conflict.run_ids), conflict.with_into) == ("a.txt", [f"{batch_id}.one"], False)


async def test_one_that_meets_many_does_not_keep_them_out(stack: Bench, letters: Path) -> None:
    every = "for f in a b c; do echo all > $f.txt; done"
    batch_id = await made(stack, letters, all=every, a="echo 1 > a.txt", b="echo 2 > b.txt", c="echo 3 > c.txt")
    found = await preview(stack, batch_id)
    assert [step.run_id.partition(".")[2] for step in found.order if step.clean] == ["a", "b", "c"]
    assert [conflict.path for conflict in found.order[-1].conflicts] == ["a.txt", "b.txt", "c.txt"]


async def test_a_branch_that_has_moved_on_is_merged_into_as_it_is_now(stack: Bench, letters: Path) -> None:
    batch_id = await made(stack, letters, one="echo 1 > a.txt", two="echo 2 > b.txt")
    (letters / "a.txt").write_text("mine\n")
    git(letters, "commit", "-qam", "Mine")
    found = await preview(stack, batch_id, into="main")
    assert found.into_commit == git(letters, "rev-parse", "main")
    assert [(step.run_id.partition(".")[2], step.clean) for step in found.order] == [("two", True), ("one", False)]
    (conflict,) = found.order[1].conflicts
    assert (conflict.path, list(conflict.run_ids), conflict.with_into) == ("a.txt", [], True)


async def test_a_renamed_directory_that_conflicts_without_a_file_is_no_clean_merge(
    stack: Bench, tmp_path: Path
) -> None:
    repo = repository(tmp_path / "tree", {f"old/{name}": f"{name}\n" * 9 for name in "abcd"})
    batch_id = await made(
        stack,
        repo,
        split="mkdir x y; git mv old/a old/b x; git mv old/c old/d y",
        adds="echo new > old/e",
    )
    found = await preview(stack, batch_id)
    unclean = [step for step in found.order if not step.clean]
    assert [step.run_id.partition(".")[2] for step in unclean] == ["adds"]
    assert unclean[0].conflicts or "renamed a directory" in unclean[0].problem


async def test_what_a_run_needs_is_merged_once(stack: Bench, letters: Path) -> None:
    first, second = run("first", "echo 1 >> a.txt"), run("second", "echo 2 >> a.txt", needs=["first"])
    runs = await stack.finish(letters, second, first)
    found = await merge(stack, runs[0].batch_id, "both")
    assert [step.clean for step in found.merge.order] == [True, True]
    assert git(letters, "show", "both:a.txt") == "a\n1\n2"


async def test_merged_branch_is_new_and_nothing_else_of_the_repository_changes(stack: Bench, letters: Path) -> None:
    batch_id = await made(stack, letters, one="echo 1 > a.txt", two="echo 2 > a.txt", far="echo x > c.txt")
    (letters / "b.txt").write_text("not committed\n")
    refs, status = git(letters, "for-each-ref"), git(letters, "status", "--porcelain")
    answer = await merge(stack, batch_id, "feature/all")
    assert git(letters, "rev-parse", "feature/all") == answer.commit
    assert git(letters, "rev-parse", "feature/all^{tree}") == answer.merge.tree_id
    assert git(letters, "show", "feature/all:c.txt") == "x"
    assert git(letters, "log", "--format=%s", "--first-parent", "-1", "feature/all").startswith(
        "Merge branch 'autopack/"
    )
    assert git(letters, "status", "--porcelain") == status
    rest = [line for line in git(letters, "for-each-ref").splitlines() if "feature/all" not in line]
    assert rest == refs.splitlines()
    (mirror,) = (stack.data / "orchestrator/mirrors").glob("*.git")
    assert git(mirror, "for-each-ref", "refs/heads/feature") == ""
    git(letters, "branch", "-f", "feature/all", "main")
    with pytest.raises(AlreadyExists):
        await merge(stack, batch_id, "feature/all")
    assert git(letters, "rev-parse", "feature/all") == git(letters, "rev-parse", "main")
    with pytest.raises(AlreadyExists):
        await merge(stack, batch_id, "main")


@pytest.mark.parametrize("name", ["", "a..b", "autopack/x/y", "-b", "x.lock"])
async def test_a_bad_name_of_a_new_branch_is_refused(stack: Bench, letters: Path, name: str) -> None:
    batch_id = await made(stack, letters, one="echo 1 > a.txt")
    with pytest.raises(InvalidArgument) as error:
        await merge(stack, batch_id, name)
    assert [violation.field for violation in error.value.violations] == ["branch"]


async def test_a_batch_without_a_finished_branch_has_nothing_to_merge(stack: Bench, letters: Path) -> None:
    batch_id = await made(stack, letters, failing="exit 3")
    found = await preview(stack, batch_id)
    assert (list(found.order), list(found.commands)) == ([], [])
    assert found.tree_id == git(letters, "rev-parse", "HEAD^{tree}")
    with pytest.raises(FailedPrecondition) as error:
        await merge(stack, batch_id, "new")
    assert error.value.reason == "NOTHING_TO_MERGE"


async def test_unknown_batch_unknown_ref_and_foreign_history_are_told(stack: Bench, letters: Path) -> None:
    with pytest.raises(NotFound):
        await preview(stack, "nosuch-123456")
    batch_id = await made(stack, letters, one="echo 1 > a.txt")
    with pytest.raises(NotFound) as missing:
        await preview(stack, batch_id, into="nowhere")
    assert missing.value.reason == "REF_NOT_FOUND"
    git(letters, "checkout", "-q", "--orphan", "island")
    git(letters, "commit", "-qm", "Island")
    with pytest.raises(FailedPrecondition) as foreign:
        await preview(stack, batch_id, into="island")
    assert foreign.value.reason == "UNRELATED_HISTORIES"


async def test_mirror_that_was_collected_is_made_again_and_a_lost_branch_is_told(stack: Bench, letters: Path) -> None:
    batch_id = await made(stack, letters, kept="echo 1 > a.txt", lost="echo 2 > b.txt")
    git(letters, "branch", "-D", f"autopack/{batch_id}/lost")
    git(letters, "reflog", "expire", "--expire=now", "--all")
    git(letters, "gc", "-q", "--prune=now")
    await stack.settled()
    for path in (stack.data / "orchestrator/mirrors").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = await preview(stack, batch_id)
    assert [(step.run_id.partition(".")[2], step.clean) for step in found.order] == [("kept", True), ("lost", False)]
    assert "not there any more" in found.order[1].problem


async def test_git_that_is_too_old_is_told(
    stack: Bench, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await made(stack, letters, one="echo 1 > a.txt")
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    real = shutil.which("git")
    old.write_text(f'#!/bin/sh\ncase "$*" in *merge-tree*) exit 129;; esac\nexec {real} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    with pytest.raises(FailedPrecondition) as error:
        await preview(stack, batch_id)
    assert error.value.reason == "GIT_TOO_OLD"
    assert "2.38" in error.value.message


async def test_who_may_only_read_previews_and_merges_nothing(tmp_path: Path, letters: Path) -> None:
    async with bench(tmp_path) as stack:
        batch_id = await made(stack, letters, one="echo 1 > a.txt")
    reader = Principal("reader", "default", frozenset({Scope.READ}))
    async with bench(tmp_path, principal=reader) as stack:
        assert (await preview(stack, batch_id)).order[0].clean
        with pytest.raises(PermissionDenied):
            await merge(stack, batch_id, "new")
