"""What a repository usually talks about, from its git history: what PutProfile takes.

    profile = await build_profile(Path("."))
    response = await client.intention.PutProfile(PutProfileRequest(profile=profile.to_proto()))

Build it once per repository and commit: two runs of git, a second on a large repository.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from autopack_api.intention.v1 import intention_pb2 as pb

from autopack_client.evidence import DIFF_OPTIONS, Evidence, parse_patch, run_git

__all__ = ["Profile", "build_profile"]

MAX_MESSAGES = 1_000
MAX_CHANGES = 50
"""More of either does not move the drift check's figures."""

_SCANNED_MESSAGES = 1_500
_SCANNED_CHANGES = 60
"""Commits that are looked at, so that enough remain without those of bots."""

_MAX_LOG_BYTES = 8 << 20
_MAX_PATCH_BYTES = 32 << 20
"""Sixty usual commits have 1 MiB; one that adds a vendored tree must not be read to its end."""

_MAX_MESSAGE_BYTES = 4_000
_MAX_MESSAGE_CHARS = 1_500

_FIELD, _COMMIT = "\x1f", "\x01commit "

_TRAILERS = ("signed-off-by:", "co-authored-by:", "reviewed-by:", "acked-by:", "tested-by:", "change-id:", "cc:")
_BOTS = ("[bot]", "dependabot", "renovate", "github-actions", "greenkeeper", "pre-commit-ci", "snyk-bot", "weblate")


@dataclass(frozen=True, slots=True)
class Profile:
    """A history.

    Attributes:
        messages: commit messages, the newest first.
        background: recent changes, the newest first.
    """

    messages: tuple[str, ...] = ()
    background: tuple[Evidence, ...] = ()

    def to_proto(self) -> pb.Profile:
        """As a request carries it."""
        return pb.Profile(messages=self.messages, background=[change.to_proto() for change in self.background])


async def build_profile(repository: Path, revision: str = "HEAD", *, timeout: float = 60.0) -> Profile:
    """The profile of a repository at a revision; without merges, and without commits of bots.

    Args:
        repository: a working tree or a bare repository; a shallow one gives what it has.
        revision: whose history.
        timeout: seconds for each of two runs of git.

    Raises:
        FailedPrecondition: ``GIT_FAILED``, with what git said: no repository, no such revision, no commit yet.
        DeadlineExceeded: ``GIT_TIMEOUT``.
    """
    log = ("log", "--no-merges", "--no-show-signature", "--no-mailmap", "--no-color", "--no-decorate")
    last = ("--end-of-options", revision, "--")
    author = "%an%x1f%ae"
    messages = await run_git(
        repository,
        (*log, "-z", "--no-patch", f"--max-count={_SCANNED_MESSAGES}", f"--format={author}%x1f%B", *last),
        max_bytes=_MAX_LOG_BYTES,
        timeout=timeout,
    )
    patches = await run_git(
        repository,
        (*log, "--patch", *DIFF_OPTIONS, f"--max-count={_SCANNED_CHANGES}", f"--format=%x01commit {author}", *last),
        max_bytes=_MAX_PATCH_BYTES,
        timeout=timeout,
    )
    return await asyncio.to_thread(_profile, messages, patches)


def _profile(messages: bytes, patches: bytes) -> Profile:
    return Profile(
        messages=tuple(islice(_messages(messages), MAX_MESSAGES)),
        background=tuple(islice(_changes(patches), MAX_CHANGES)),
    )


def _messages(log: bytes) -> Iterator[str]:
    for record in log.split(b"\0"):
        name, _, rest = record.decode("utf-8", "replace").partition(_FIELD)
        email, _, body = rest.partition(_FIELD)
        text = _without_trailers(body)
        if text and not _is_bot(name, email):
            yield text


def _changes(patches: bytes) -> Iterator[Evidence]:
    for lines in _commits(patches):
        name, _, email = lines[0].removeprefix(_COMMIT.encode()).decode("utf-8", "replace").partition(_FIELD)
        evidence = parse_patch(lines[1:])
        if evidence.paths and not _is_bot(name, email):
            yield replace(evidence, files=())  # a background is compared as a whole


def _commits(patches: bytes) -> Iterator[list[bytes]]:
    """The lines of each commit. A line of content starts with + or -, so none can be taken for a commit's first."""
    lines: list[bytes] = []
    for line in patches.split(b"\n"):
        if line.startswith(_COMMIT.encode()):
            if lines:
                yield lines
            lines = [line]
        elif lines:
            lines.append(line)
    if lines and len(patches) < _MAX_PATCH_BYTES:  # else the last one was cut short
        yield lines


def _without_trailers(message: str) -> str:
    kept = [line for line in message.strip().splitlines() if not line.lower().startswith(_TRAILERS)]
    text = "\n".join(kept).strip()[:_MAX_MESSAGE_CHARS]
    return text.encode()[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore")


def _is_bot(name: str, email: str) -> bool:
    who = f"{name} {email}".lower()
    return any(bot in who for bot in _BOTS)
