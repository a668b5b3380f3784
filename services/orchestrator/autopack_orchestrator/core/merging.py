"""In which order the branches of a batch are merged, and what is said of the outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command

from autopack_orchestrator.core.model import Run, RunState

__all__ = ["Branch", "Conflict", "Merged", "Step", "commands", "finished", "in_order", "problem_with_new_branch"]

MAX_BRANCH_NAME = 200  # with "refs/heads/" before and ".lock" behind it still below the 255 bytes of a file name
OURS = ("autopack/", "autopack-base/")  # branches of runs


@dataclass(frozen=True, slots=True)
class Branch:
    """What a run has made.

    Attributes:
        paths: that it changed; of a rename both.
        needs: ids of runs whose commits it has in it.
    """

    run_id: str
    name: str
    commit: str
    paths: frozenset[str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path that cannot be merged by itself: with which runs, and whether with what all is merged into."""

    path: str
    run_ids: tuple[str, ...]
    with_into: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """How one branch merged; ``problem`` says why it could not even be tried."""

    branch: Branch
    clean: bool
    conflicts: tuple[Conflict, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """All branches, one after the other.

    Attributes:
        steps: those that merged, in order, then the others.
        commit: what was merged; ``into`` itself if nothing was.
    """

    into: str
    steps: tuple[Step, ...]
    commit: str
    tree: str


def finished(runs: Sequence[Run]) -> list[Branch]:
    """The branches of the runs that succeeded."""
    found = []
    for run in runs:
        if run.state is RunState.SUCCEEDED and run.result.head_commit:
            paths = frozenset(path for change in run.result.changes for path in (change.path, change.old_path) if path)
            needs = tuple(f"{run.batch_id}.{name}" for name in run.spec.needs)
            found.append(Branch(run.run_id, run.branch, run.result.head_commit, paths, needs))
    return found


def in_order(branches: Sequence[Branch]) -> list[Branch]:
    """Which branch is tried when: those that share files with the fewest others first, so that one that meets many does
    not keep all of them out; what a branch needs before it; else as in the batch."""
    users = Counter(path for branch in branches for path in branch.paths)
    shared = {branch.run_id: sum(users[path] - 1 for path in branch.paths) for branch in branches}
    waiting, placed = sorted(branches, key=lambda branch: shared[branch.run_id]), list[Branch]()
    known, done = {branch.run_id for branch in branches}, set[str]()
    while waiting:
        # Needs have no cycles (that is checked when a batch is created), so there always is one.
        chosen = next(branch for branch in waiting if done.issuperset(known.intersection(branch.needs)))
        waiting.remove(chosen)
        placed.append(chosen)
        done.add(chosen.run_id)
    return placed


def commands(merged: Merged, onto: str, new_branch: str) -> tuple[Command, ...]:
    """What a person types to have the same, on a new branch; nothing if nothing merges."""
    names = [step.branch.name for step in merged.steps if step.clean]
    if not names:
        return ()
    merges = (Command(argv=("git", "merge", "--no-ff", "--no-edit", name)) for name in names)
    return (Command(argv=("git", "switch", "--create", new_branch, onto)), *merges)


def problem_with_new_branch(name: str) -> str | None:
    """What is wrong with the name of a branch to make, as far as that can be told without git; None if nothing is."""
    if not name:
        return "is required: the name of the branch to make"
    if len(name.encode(errors="replace")) > MAX_BRANCH_NAME:
        return f"is too long; use at most {MAX_BRANCH_NAME} bytes"
    if name.startswith("-") or not name.isprintable():
        return "is not a valid branch name"
    if name.startswith(OURS):
        return f"must not begin with {' or '.join(OURS)}: such branches are of runs"
    return None
