"""What must hold after every story, whatever happened in it."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections import defaultdict
from glob import glob
from pathlib import Path

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1.telemetry_pb2 import PhaseOutcome

from tests.robustness.history import History, Sighting
from tests.robustness.machine import Machine
from tests.robustness.processes import marked, supervisors, until
from tests.robustness.traffic import git

__all__ = ["attempts_never_overlap", "fingerprint", "nothing_is_left", "validate"]

_ENDED = {"succeeded", "failed", "timed_out", "cancelled", "lost"}
_NEXT = {
    "queued": {"preparing", *_ENDED},
    "preparing": {"running", "queued", *_ENDED},
    "running": {"validating", "queued", *_ENDED},
    "validating": {"queued", *_ENDED},
}


def validate(history: History, *, crashes: int = 0) -> None:
    """Everything that the history of a batch must satisfy by itself.

    Args:
        history: of a batch that has ended.
        crashes: how often a server was killed meanwhile: each may cost every run the record of one phase.
    """
    _events_have_no_gaps(history)
    for run in history.runs:
        _states_follow_each_other(history, run)
        _phases_are_recorded(history, run, crashes)
    attempts_never_overlap(history.sightings)


def _events_have_no_gaps(history: History) -> None:
    assert [event.sequence for event in history.events] == list(range(1, len(history.events) + 1))


def _states_follow_each_other(history: History, run: pb.Run) -> None:
    """One chain from queued to exactly one end, which is the one that the run shows; nothing happens after it."""
    own = [event for event in history.events if event.run_id == run.run_id]
    changes = [event.attributes for event in own if event.kind == pb.EVENT_KIND_STATE and "to" in event.attributes]
    state, attempt = "queued", 1
    for change in changes:
        assert change["from"] == state, f"{run.name}: {change} after {state}"
        assert change["to"] in _NEXT[state], f"{run.name}: {change}"
        state = change["to"]
        attempt += state == "queued"
        assert int(change["attempt"]) == attempt, f"{run.name}: {change} in attempt {attempt}"
    assert state in _ENDED
    assert pb.RunState.Name(run.state) == f"RUN_STATE_{state.upper()}"
    assert own[-1].kind == pb.EVENT_KIND_STATE, f"{run.name}: {own[-1].message} after its end"
    assert run.attempt == attempt
    assert bool(run.error.reason) == (state != "succeeded"), f"{run.name} ended {state} with {run.error.reason!r}"
    if attempt > 1:
        assert run.branch == f"autopack/{run.batch_id}/{run.name}-{attempt}"


def _phases_are_recorded(history: History, run: pb.Run, crashes: int) -> None:
    """Telemetry knows the phases that the events tell of, and no other."""
    finished = [
        (event.attributes["phase"], event.attributes["outcome"])
        for event in history.events
        if event.run_id == run.run_id and event.kind == pb.EVENT_KIND_PHASE_FINISHED
    ]
    recorded = [
        (phase.kind, PhaseOutcome.Name(phase.outcome).removeprefix("PHASE_OUTCOME_").lower())
        for phase in history.phases[run.run_id]
    ]
    missing = list(finished)
    for phase in recorded:
        assert phase in missing, f"{run.name}: telemetry has {phase}, the events have {finished}"
        missing.remove(phase)
    assert len(missing) <= crashes, f"{run.name}: telemetry lacks {missing}"


def attempts_never_overlap(sightings: list[Sighting]) -> None:
    """An attempt is executed once, and ends before the next one of its run begins."""
    spans: dict[str, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for seen in sightings:
        if seen.what == "step":
            continue
        spans[seen.run][seen.attempt, seen.pid].append(seen.at)
    for run, attempts in spans.items():
        numbers = [attempt for attempt, _ in attempts]
        assert len(numbers) == len(set(numbers)), f"{run}: an attempt was executed twice: {sorted(attempts)}"
        ordered = sorted((min(times), max(times), key) for key, times in attempts.items())
        for (_, end, one), (start, _, other) in itertools.pairwise(ordered):
            assert end < start, f"{run}: attempt {other} began while {one} was at work"
            assert one[0] < other[0]


async def nothing_is_left(machine: Machine, *histories: History) -> None:
    """No process, worktree, lock or branch without a reason. The server may still be removing the last worktree."""
    await until(lambda: not marked(machine.data), f"no process is alive: {marked(machine.data)}")
    await until(lambda: not supervisors(machine.data), "no supervisor is alive")
    await until(lambda: not worktrees(machine), f"no worktree is left: {worktrees(machine)}")
    await until(lambda: not locked(machine), f"no lock is held: {locked(machine)}")
    _branches_have_a_reason(machine, histories)


def worktrees(machine: Machine) -> list[str]:
    """Worktrees, git's and our own records of them, and git's own lock files."""
    own = machine.data / "orchestrator"
    patterns = ("workspaces/*", "mirrors/*.git/worktrees/*", "mirrors/*.trusted/records/*", "mirrors/*.git/**/*.lock")
    # Not Path.glob: it fails when a directory is removed while it looks, and removing is what is waited for.
    return [name for pattern in patterns for name in glob(pattern, root_dir=own, recursive=True, include_hidden=True)]


def locked(machine: Machine) -> list[str]:
    """Lock files of repositories and executions that somebody holds."""
    own = machine.data / "orchestrator"
    found = []
    for path in (*own.glob("mirrors/*.lock"), *own.glob("mirrors/*.next"), *own.glob("runs/*/*/*/exec/*/lock")):
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append(str(path.relative_to(own)))
        finally:
            os.close(handle)
    return found


def _branches_have_a_reason(machine: Machine, histories: tuple[History, ...]) -> None:
    """The user has the branch of every run that succeeded and no other; the mirror also those that hold commits."""
    base = git(machine.repo, "rev-parse", "main")
    delivered = {run.branch for h in histories for run in h.runs if run.state == pb.RUN_STATE_SUCCEEDED}
    listed = git(machine.repo, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").splitlines()
    assert set(listed) == {"main", *delivered}
    for mirror in (machine.data / "orchestrator" / "mirrors").glob("*.git"):
        listed = git(mirror, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads").splitlines()
        heads = {name: commit for commit, _, name in (line.partition(" ") for line in listed)}
        assert delivered <= set(heads)
        idle = {name for name, commit in heads.items() if name not in delivered and commit == base}
        assert not idle, f"branches without anything on them: {idle}"


def fingerprint(repo: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file of the user's repository that Autopack must not touch: all but objects and its own branches."""
    ours = (".git/objects/", ".git/refs/heads/autopack/", ".git/logs/refs/heads/autopack/")
    found = {}
    for path in sorted(repo.rglob("*")):
        name = str(path.relative_to(repo))
        if path.is_file() and not name.startswith(ours):
            status = path.stat()
            found[name] = (path.read_bytes(), status.st_mode, status.st_mtime_ns)
    return found
