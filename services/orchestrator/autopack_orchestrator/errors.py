"""What can go wrong in the orchestrator, in words a caller can act on."""

from __future__ import annotations

from autopack_kit.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, NotFound, OutOfRange

from autopack_orchestrator.core.model import Batch, Run, RunError, RunState

__all__ = [
    "IdTaken",
    "LeaseLost",
    "RunFailed",
    "StoreFailed",
    "batch_not_found",
    "needs_first",
    "no_log",
    "no_patch",
    "not_a_plain_file",
    "nothing_to_merge",
    "offset_beyond_end",
    "repository_elsewhere",
    "request_id_reused",
    "results_removed",
    "run_not_found",
    "run_not_retryable",
    "spec_invalid",
]


class IdTaken(Exception):
    """The id that was drawn for a batch is another batch's."""


class LeaseLost(Exception):
    """The run was claimed by somebody else since: nothing may be written under the old epoch."""


class RunFailed(Exception):
    """Ends a run in ``state`` with ``error``. Raised by a phase, caught where the run is carried out."""

    def __init__(self, state: RunState, error: RunError) -> None:
        super().__init__(error.message)
        self.state = state
        self.error = error


class StoreFailed(Exception):
    """What became of a run cannot be written down now. It says nothing about the run, which is taken up again."""


def spec_invalid(violations: list[FieldViolation]) -> InvalidArgument:
    """The batch has problems; all of them."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return InvalidArgument(
        f"The batch cannot run: {first.field}: {first.description}{more}.",
        reason="BATCH_INVALID",
        remedy="Correct the named fields; nothing was started.",
        metadata={"violations": str(len(violations))},
        violations=violations,
    )


def request_id_reused(request_id: str) -> AlreadyExists:
    """The request id stands for another batch."""
    return AlreadyExists(
        f"request_id {request_id!r} was used for a batch with another content.",
        reason="REQUEST_ID_REUSED",
        remedy="Use a new request_id for a new batch.",
        metadata={"request_id": request_id},
    )


def batch_not_found(batch_id: str) -> NotFound:
    """No such batch in this tenant."""
    return NotFound(
        f"There is no batch {batch_id!r}.",
        reason="BATCH_NOT_FOUND",
        remedy="List the batches with ListBatches or `autopack runs list`. One that ended is removed "
        "after the time that AUTOPACK_ORCHESTRATOR_KEEP_RESULTS of the server says.",
        metadata={"batch_id": batch_id},
    )


def run_not_found(run_id: str) -> NotFound:
    """No such run in this tenant."""
    return NotFound(
        f"There is no run {run_id!r}.",
        reason="RUN_NOT_FOUND",
        remedy="List the runs with ListRuns or `autopack runs list`; an id is <batch>.<name>. Those of a batch that "
        "ended are removed after the time that AUTOPACK_ORCHESTRATOR_KEEP_RESULTS of the server says.",
        metadata={"run_id": run_id},
    )


def run_not_retryable(run: Run) -> FailedPrecondition:
    """The run has succeeded, or is not over."""
    done = run.state is RunState.SUCCEEDED
    return FailedPrecondition(
        f"Run {run.run_id!r} {'has succeeded' if done else 'is ' + run.state.value}; only a run that ended without "
        "success can be tried again.",
        reason="RUN_NOT_RETRYABLE",
        remedy="Create another batch to do it once more." if done else "Wait for its end, or cancel it first.",
        metadata={"run_id": run.run_id, "state": run.state.value},
    )


def needs_first(run: Run, names: list[str]) -> FailedPrecondition:
    """What the run needs ended without success, so it could not begin."""
    first = f"{run.batch_id}.{names[0]}"
    return FailedPrecondition(
        f"Run {run.run_id!r} needs {', '.join(names)}, which did not succeed.",
        reason="NEEDS_NOT_SUCCEEDED",
        remedy=f"Retry {first!r}: the runs that ended because they need it are queued again with it.",
        metadata={"run_id": run.run_id, "needs": ",".join(names)},
    )


def no_log(run_id: str, attempt: int) -> NotFound:
    """There is no such attempt."""
    return NotFound(
        f"Run {run_id!r} has no attempt {attempt}.",
        reason="LOG_NOT_FOUND",
        remedy="Ask for an attempt from 1 to the run's current one.",
        metadata={"run_id": run_id, "attempt": str(attempt)},
    )


def offset_beyond_end(run_id: str, offset: int, size: int) -> OutOfRange:
    """There is nothing at this offset, and will not be."""
    return OutOfRange(
        f"The log of run {run_id!r} has {size} bytes; offset {offset} is beyond its end.",
        reason="OFFSET_BEYOND_END",
        remedy="Start at an offset from 0 to the size, or at a negative one for the tail.",
        metadata={"run_id": run_id, "offset": str(offset), "size": str(size)},
    )


def no_patch(run_id: str, state: RunState) -> FailedPrecondition:
    """The run has captured nothing (yet)."""
    return FailedPrecondition(
        f"Run {run_id!r} is {state.value} and has no patch.",
        reason="PATCH_NOT_READY",
        remedy="Wait until the run has ended; a run that changed nothing has no patch.",
        metadata={"run_id": run_id, "state": state.value},
    )


def not_a_plain_file(name: str) -> FailedPrecondition:
    """Something else stands where a run's log or patch was written: an agent of the same user can do that."""
    return FailedPrecondition(
        f"The run's {name!r} was replaced by a link, a pipe or something else that is not a file; it is not opened.",
        reason="NOT_A_PLAIN_FILE",
        remedy="Find out what replaced it: the agent can write into the data directory. Then retry the run.",
        metadata={"file": name},
    )


def sandbox_unavailable(problem: str) -> FailedPrecondition:
    """A batch insists on the sandbox, and there is none."""
    return FailedPrecondition(
        f"The batch requires the sandbox, which is not available here: {problem}",
        reason="SANDBOX_UNAVAILABLE",
        remedy="Install bubblewrap (apt install bubblewrap) and see `autopack capabilities`, or use sandbox: auto.",
    )


def sandbox_required() -> FailedPrecondition:
    """A batch wants no sandbox, and the orchestrator insists on it."""
    return FailedPrecondition(
        "The batch asks for no sandbox, and this orchestrator runs nothing without one.",
        reason="SANDBOX_REQUIRED",
        remedy="Leave `isolation.sandbox` out, or ask the operator to change AUTOPACK_ORCHESTRATOR_SANDBOX.",
    )


def network_needs_sandbox(why: str) -> FailedPrecondition:
    """The network can only be taken away in the sandbox."""
    return FailedPrecondition(
        f"The network can only be switched off in the sandbox: {why}",
        reason="NETWORK_NEEDS_SANDBOX",
        remedy="Install bubblewrap (apt install bubblewrap) and leave `isolation.sandbox` out, or use network: on.",
    )


def nothing_to_merge(batch_id: str) -> FailedPrecondition:
    """No finished branch of the batch merges without a conflict."""
    return FailedPrecondition(
        f"No finished branch of batch {batch_id!r} merges without a conflict.",
        reason="NOTHING_TO_MERGE",
        remedy="See with PreviewMerge or `autopack merge` what conflicts; wait for runs that have not ended.",
        metadata={"batch_id": batch_id},
    )


def repository_elsewhere(batch: Batch) -> FailedPrecondition:
    """There is no repository on this disk that a branch could be made in."""
    return FailedPrecondition(
        f"The repository {batch.repository} of batch {batch.batch_id!r} is not on the orchestrator's disk.",
        reason="REPOSITORY_ELSEWHERE",
        remedy="Merge in a clone of it: PreviewMerge and `autopack merge` say with which commands.",
        metadata={"batch_id": batch.batch_id},
    )


def results_removed(run_id: str, what: str) -> FailedPrecondition:
    """The log or the patch of the run was removed to make room."""
    return FailedPrecondition(
        f"The {what} of run {run_id!r} was removed by retention: all results together had more bytes than are kept.",
        reason="RESULTS_REMOVED",
        remedy="Its branch is still in the repository. To keep more, raise AUTOPACK_ORCHESTRATOR_KEEP_BYTES there.",
        metadata={"run_id": run_id},
    )
