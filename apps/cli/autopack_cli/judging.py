"""A range of commits judged against a goal: which commits, what they changed, and what it means as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_client import AsyncClient
from autopack_client.evidence import change_evidence, run_git
from autopack_client.profile import build_profile
from autopack_kit.errors import FailedPrecondition, invalid_field

__all__ = ["Commit", "FailOn", "Judgement", "Range", "Step", "judge", "read_range"]

MAX_COMMITS = 500
"""Judged one by one, each by a run of git; a longer range is no piece of work."""

_MAX_LOG_BYTES = 16 << 20
_MAX_GIT_LINE = 8_192
_MAX_NOTE_BYTES = 16 << 10
_MAX_MESSAGE_BYTES = 4_000
_FIELD = "\x1f"

_BLOCKING: dict[str, frozenset[int]] = {
    "scope": frozenset({pb.VERDICT_SCOPE_VIOLATION}),
    "drift": frozenset({pb.VERDICT_SCOPE_VIOLATION, pb.VERDICT_DRIFT}),
    "watch": frozenset({pb.VERDICT_SCOPE_VIOLATION, pb.VERDICT_DRIFT, pb.VERDICT_WATCH}),
    "never": frozenset(),
}


class FailOn(StrEnum):
    """From which verdict on the command fails."""

    SCOPE = "scope"
    DRIFT = "drift"
    WATCH = "watch"
    NEVER = "never"

    def fails(self, verdict: int) -> bool:
        """Whether a run with this verdict fails; one that could not be judged never does."""
        return verdict in _BLOCKING[self.value]


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; ``parent`` is empty for a first one."""

    id: str
    parent: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Range:
    """What is judged.

    Attributes:
        base: the commit that both sides share, or what was given as the start where they share none.
        until: the last commit.
        commits: without merges, the oldest first; one more than can be judged where there are too many.
        shallow: the repository has only a part of its history.
        related: both sides have a commit in common.
    """

    base: str
    until: str
    commits: Sequence[Commit]
    shallow: bool
    related: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A judged commit, or the range as one change."""

    commit: Commit | None
    response: pb.CheckDriftResponse


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came out.

    Attributes:
        steps: one for each commit, the oldest first; one alone where the range was judged as one change.
        whole: the range as one change.
    """

    steps: Sequence[Step]
    whole: Step

    @property
    def verdict(self) -> int:
        """Of the range: a path out of scope in any commit or in the whole; drift that was raised at any commit; else
        what the last commit left. Where every commit alone is too small to be judged, the whole decides."""
        responses = [step.response for step in self.steps]
        if any(item.step_verdict == pb.VERDICT_SCOPE_VIOLATION for item in (*responses, self.whole.response)):
            return pb.VERDICT_SCOPE_VIOLATION
        if any(item.run_verdict == pb.VERDICT_DRIFT for item in responses):
            return pb.VERDICT_DRIFT
        last = responses[-1].run_verdict
        return self.whole.response.run_verdict if last == pb.VERDICT_INSUFFICIENT_EVIDENCE else last


async def read_range(repository: Path, since: str, until: str) -> Range:
    """The commits of ``until`` that ``since`` does not have.

    Raises:
        InvalidArgument: not a repository, an unknown revision, or no commit in between.
    """
    try:
        shallow = await _line(repository, "rev-parse", "--is-shallow-repository") == "true"
    except FailedPrecondition as error:
        problem = f"{repository} is not a git repository: give the directory of one"
        raise invalid_field("--repo", problem, reason="NOT_A_REPOSITORY") from error
    start = await _commit(repository, "--since", since, shallow)
    end = await _commit(repository, "--until", until, shallow)
    try:
        base = await _line(repository, "merge-base", start, end)
    except FailedPrecondition:
        return Range(start, end, (), shallow=shallow, related=False)
    if base == end:
        problem = f"there are no commits between {since} and {until}: name a commit before the change"
        raise invalid_field("--since", problem, reason="EMPTY_RANGE")
    commits = await _commits(repository, start, end)
    return Range(base, end, commits, shallow=shallow, related=True)


async def _commit(repository: Path, option: str, revision: str, shallow: bool) -> str:
    try:
        return await _line(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except FailedPrecondition as error:
        more = "; this clone is shallow, so fetch more of it: git fetch --unshallow" if shallow else ""
        problem = f"{revision!r} is not a commit of this repository: name another one{more}"
        raise invalid_field(option, problem, reason="REVISION_NOT_FOUND") from error


async def _line(repository: Path, *arguments: str) -> str:
    found = await run_git(repository, arguments, max_bytes=_MAX_GIT_LINE)
    return found.decode("utf-8", "replace").strip()


async def _commits(repository: Path, start: str, end: str) -> tuple[Commit, ...]:
    form = _FIELD.join(("%H", "%P", "%s", "%B"))
    log = (
        "log", "-z", "--no-merges", "--topo-order", "--no-color", "--no-decorate", "--no-show-signature", "--no-patch",
        f"--max-count={MAX_COMMITS + 1}", f"--format={form}", f"{start}..{end}", "--",
    )  # fmt: skip
    records = (await run_git(repository, log, max_bytes=_MAX_LOG_BYTES)).decode("utf-8", "replace").split("\0")
    found = []
    for record in records:
        identifier, _, rest = record.partition(_FIELD)
        parents, _, rest = rest.partition(_FIELD)
        subject, _, message = rest.partition(_FIELD)
        if identifier:
            found.append(Commit(identifier.strip(), parents.partition(" ")[0], subject, message.strip()))
    return tuple(reversed(found))


async def judge(
    client: AsyncClient, repository: Path, work: Range, intention: pb.Intention, *, note: str, squash: bool
) -> Judgement:
    """Asks the service about each commit in turn, and about all of them as one change.

    Raises:
        InvalidArgument: there are too many to judge each.
    """
    if len(work.commits) > MAX_COMMITS and not squash:
        problem = f"there are more than {MAX_COMMITS} commits in between: name a later one, or judge them by --squash"
        raise invalid_field("--since", problem, reason="RANGE_TOO_LONG")
    profile = await build_profile(repository, work.base)
    stored = await client.intention.PutProfile(pb.PutProfileRequest(profile=profile.to_proto()))
    blank = pb.CheckDriftRequest(intention=intention, profile_id=stored.profile_id, final=True)
    told = note or "\n".join(commit.message for commit in work.commits)
    blank.note = _head(told, _MAX_NOTE_BYTES)
    whole = Step(None, await _check(client, repository, work.base, work.until, blank))
    if squash or not work.commits:
        return Judgement((whole,), whole)
    steps: list[Step] = []
    earlier: list[float] = []
    for commit in work.commits:
        blank.note = _head(note or commit.message, _MAX_MESSAGE_BYTES)
        blank.final = commit is work.commits[-1]
        del blank.earlier_z[:]
        blank.earlier_z.extend(earlier)
        before = commit.parent or await _empty_tree(repository)
        response = await _check(client, repository, before, commit.id, blank)
        if not math.isnan(response.z) and response.step_verdict != pb.VERDICT_INSUFFICIENT_EVIDENCE:
            earlier.append(response.z)
        steps.append(Step(commit, response))
    return Judgement(steps, whole)


async def _check(
    client: AsyncClient, repository: Path, before: str, after: str, blank: pb.CheckDriftRequest
) -> pb.CheckDriftResponse:
    request = pb.CheckDriftRequest()
    request.CopyFrom(blank)
    request.evidence.CopyFrom((await change_evidence(repository, before, after)).to_proto())
    return await client.intention.CheckDrift(request)


async def _empty_tree(repository: Path) -> str:
    # Its name depends on the repository's hash; a first commit has nothing else before it.
    return await _line(repository, "hash-object", "-t", "tree", "/dev/null")


def _head(text: str, limit: int) -> str:
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
