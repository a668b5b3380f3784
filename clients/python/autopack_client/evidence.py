"""What a change shows about itself, from a real ``git diff``: the evidence that the intention service compares with a
goal.

    evidence = await change_evidence(Path("."), "HEAD~1", "HEAD")
    CheckDriftRequest(intention=..., evidence=evidence.to_proto())

Git runs without the repository's hooks, file monitor, external diff programs or text converters, and nothing here
trusts what it prints: its output is bounded in bytes and time, and every list in length.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_kit.errors import DeadlineExceeded, FailedPrecondition

__all__ = ["DIFF_OPTIONS", "Evidence", "FileChange", "change_evidence", "parse_patch", "run_git"]

MAX_DIFF_BYTES = 16 << 20
"""Of one diff; what is behind it is left out. 16 MiB are parsed in about a second."""

MAX_PATHS = 2_000
MAX_PATH_CHARS = 1_024
MAX_HUNK_HEADERS = 10
MAX_HUNK_HEADER_CHARS = 200
MAX_IDENTIFIERS = 30
"""These are what the drift check was measured with; paths are more because scope is checked on all of them."""

MAX_FILES = 200
"""Files that are told one by one: nobody looks through more for one that does not belong."""

_MAX_LINE_CHARS = 1_000
"""A longer line is generated or minified; its identifiers tell nothing."""

_GIT_TIMEOUT = 60.0
_MAX_STDERR_BYTES = 4 << 10

# Whatever a repository's own configuration names as a program must not run here.
_SAFE_CONFIG = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false",
    "-c", "log.showSignature=false", "-c", "core.pager=cat",
    # To see that gigabytes are binary git would read them; what is larger than what is kept of a diff tells nothing.
    "-c", f"core.bigFileThreshold={MAX_DIFF_BYTES}",
)  # fmt: skip

_IDENTIFIER = re.compile(r"[^\W\d]\w{2,63}")
_HUNK = re.compile(rb"@@ -\d{1,10}(?:,(\d{1,10}))? \+\d{1,10}(?:,(\d{1,10}))? @@ ?")
_GITLINK = re.compile(rb"Subproject commit [0-9a-f]{40,64}")
"""All that a submodule shows: pieces of a hash are no words, yet enough of them to be judged as a change."""
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

# Their content is resolved by a tool: thirty identifiers of it would hide what a person or an agent wrote.
_GENERATED = frozenset(
    {
        "Cargo.lock", "Gemfile.lock", "Pipfile.lock", "bun.lock", "composer.lock", "go.sum", "gradle.lockfile",
        "package-lock.json", "pdm.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "yarn.lock",
    }
)  # fmt: skip

DIFF_OPTIONS = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--unified=0", "--inter-hunk-context=0", "--find-renames",
    "--no-relative", "--submodule=short", "--ignore-submodules=none", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
"""How every patch is asked for, whatever the user's configuration says, or a ``.gitmodules`` that the change brings."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file.

    Attributes:
        path: after the change; before it, if the file was deleted.
        hunk_headers: as in :class:`Evidence`, of this file.
        added_identifiers: as in :class:`Evidence`, of this file.
        added: the file did not exist before.
    """

    path: str
    hunk_headers: tuple[str, ...] = ()
    added_identifiers: tuple[str, ...] = ()
    added: bool = False

    def to_proto(self) -> pb.FileChange:
        """As a request carries it."""
        return pb.FileChange(
            path=self.path,
            hunk_headers=self.hunk_headers,
            added_identifiers=self.added_identifiers,
            added=self.added,
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One change.

    Attributes:
        paths: every path it touches, both ends of a rename and deleted files too; bytes that are not UTF-8 as U+FFFD.
        hunk_headers: the enclosing functions or sections of its hunks, each once.
        added_identifiers: of its added lines, the most frequent first.
        files: the first :data:`MAX_FILES` of its files, one by one.
    """

    paths: tuple[str, ...] = ()
    hunk_headers: tuple[str, ...] = ()
    added_identifiers: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()

    def to_proto(self) -> pb.ChangeEvidence:
        """As a request carries it."""
        return pb.ChangeEvidence(
            paths=self.paths,
            hunk_headers=self.hunk_headers,
            added_identifiers=self.added_identifiers,
            files=[file.to_proto() for file in self.files],
        )


async def change_evidence(repository: Path, base: str, target: str, *, timeout: float = _GIT_TIMEOUT) -> Evidence:
    """The evidence of everything that changed from one commit or tree to another.

    Args:
        repository: a working tree or a bare repository.
        base: commit or tree before.
        target: commit or tree after.
        timeout: seconds for git.

    Raises:
        FailedPrecondition: ``GIT_FAILED``, with what git said.
        DeadlineExceeded: ``GIT_TIMEOUT``.
    """
    arguments = ("diff", *DIFF_OPTIONS, "--end-of-options", base, target, "--")
    patch = await run_git(repository, arguments, max_bytes=MAX_DIFF_BYTES, timeout=timeout)
    return await asyncio.to_thread(parse_patch, patch.split(b"\n"))


async def run_git(
    repository: Path, arguments: Sequence[str], *, max_bytes: int, timeout: float = _GIT_TIMEOUT
) -> bytes:
    """What git prints, its first ``max_bytes`` bytes; git itself is ended when there is more.

    Raises:
        FailedPrecondition: ``GIT_FAILED``.
        DeadlineExceeded: ``GIT_TIMEOUT``.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "-C", str(repository), *_SAFE_CONFIG, *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise FailedPrecondition(
            "There is no git on the search path.",
            reason="GIT_FAILED",
            remedy="Install git.",
            metadata={"command": arguments[0]},
        ) from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout):
            async with asyncio.TaskGroup() as group:
                said = group.create_task(_read(process.stderr, _MAX_STDERR_BYTES, drain=True))
                output = await _read(process.stdout, max_bytes)
                if len(output) == max_bytes:
                    process.kill()
            code = await process.wait()
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"git {arguments[0]} did not end within {timeout:g} s.",
            reason="GIT_TIMEOUT",
            remedy="Look whether the disk is busy, or compare fewer commits.",
            metadata={"command": arguments[0]},
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0 and len(output) < max_bytes:
        # The first line says what is wrong; outside of a repository all the options of git would follow.
        text = said.result().decode("utf-8", "replace").strip().partition("\n")[0].partition(". Use --no-index")[0]
        raise FailedPrecondition(
            f"git {arguments[0]} failed with exit code {code}: {text}",
            reason="GIT_FAILED",
            remedy="Check that the directory is a git repository and that the revisions exist in it.",
            metadata={"command": arguments[0], "exit_code": str(code)},
        )
    return output


def _environment() -> dict[str, str]:
    # GIT_DIR and its like would point git elsewhere when this runs inside a hook.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return inherited | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


async def _read(stream: asyncio.StreamReader, limit: int, *, drain: bool = False) -> bytes:
    chunks, size = [], 0
    while size < limit and (chunk := await stream.read(min(1 << 16, limit - size))):
        chunks.append(chunk)
        size += len(chunk)
    while drain and await stream.read(1 << 16):
        pass
    return b"".join(chunks)


@dataclass(slots=True)
class _Seen:
    """What a patch, or one file of it, has shown so far; dictionaries are ordered sets."""

    headers: dict[str, None] = field(default_factory=dict)
    identifiers: Counter[str] = field(default_factory=Counter)

    def header(self, text: str) -> None:
        if text and len(self.headers) < MAX_HUNK_HEADERS:
            self.headers[text] = None

    def most_frequent(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.identifiers.most_common(MAX_IDENTIFIERS))


@dataclass(slots=True)
class _Collected:
    """A patch on its way to evidence: the whole, its files, and the file that is being read."""

    paths: dict[str, None] = field(default_factory=dict)
    whole: _Seen = field(default_factory=_Seen)
    files: list[FileChange] = field(default_factory=list)
    current: _Seen = field(default_factory=_Seen)
    name: str = ""
    is_new: bool = False
    generated: bool = False

    def next_file(self) -> None:
        """What was read of the current file is put down."""
        seen = self.current
        for text in seen.headers:
            self.whole.header(text)
        self.whole.identifiers.update(seen.identifiers)
        if self.name and len(self.files) < MAX_FILES:
            self.files.append(FileChange(self.name, tuple(seen.headers), seen.most_frequent(), self.is_new))
        self.current, self.name, self.is_new, self.generated = _Seen(), "", False, False

    def path(self, raw: bytes) -> None:
        """The current file's; the last one said is its path after the change."""
        path = raw.decode("utf-8", "replace")[:MAX_PATH_CHARS]
        self.generated = PurePosixPath(path).name in _GENERATED
        self.name = path
        if path and len(self.paths) < MAX_PATHS:
            self.paths[path] = None

    def header(self, raw: bytes) -> None:
        self.current.header(raw.decode("utf-8", "replace").strip()[:MAX_HUNK_HEADER_CHARS])

    def added(self, line: bytes) -> None:
        if not self.generated and len(line) <= _MAX_LINE_CHARS and not _GITLINK.match(line):
            self.current.identifiers.update(_IDENTIFIER.findall(line.decode("utf-8", "replace")))

    def evidence(self) -> Evidence:
        self.next_file()
        return Evidence(tuple(self.paths), tuple(self.whole.headers), self.whole.most_frequent(), tuple(self.files))


def parse_patch(lines: Iterable[bytes]) -> Evidence:
    """The evidence of one patch in the form of :data:`DIFF_OPTIONS`; what is not a patch is skipped.

    A hunk's lines are counted off by its header, so that a changed patch file is not taken for the patch itself.
    """
    found = _Collected()
    iterator = iter(lines)
    for line in iterator:
        if match := _HUNK.match(line):
            found.header(line[match.end() :])
            removed, added = (int(count) if count is not None else 1 for count in match.groups())
            _hunk(iterator, removed, added, found)
        elif line.startswith(b"diff --git "):
            found.next_file()
            for path in _same_path(line[len(b"diff --git ") :]):
                found.path(path)
        elif line.startswith((b"--- ", b"+++ ")):
            # Git ends a path with spaces in it by a tab here.
            side = _unquote(line[4:].removesuffix(b"\t"))
            if side != b"/dev/null":
                found.path(side[2:])
        elif line.startswith((b"rename from ", b"rename to ", b"copy to ")):
            found.path(_unquote(line.split(b" ", 2)[2]))
        elif line.startswith((b"new file mode ", b"copy from ")):
            found.is_new = True
    return found.evidence()


def _hunk(lines: Iterator[bytes], removed: int, added: int, found: _Collected) -> None:
    while removed or added:
        line = next(lines, None)
        if line is None:
            return
        if line.startswith(b"+"):
            added = max(0, added - 1)
            found.added(line[1:])
        elif line.startswith(b"-"):
            removed = max(0, removed - 1)
        elif not line.startswith(b"\\"):  # "\ No newline at end of file"
            return


def _same_path(names: bytes) -> Iterator[bytes]:
    """The path of ``a/PATH b/PATH``: all that names a file without content lines (its mode, a binary, an empty one)."""
    left, right = _unquote(names[: len(names) // 2]), _unquote(names[len(names) // 2 + 1 :])
    if left[2:] == right[2:]:
        yield left[2:]


def _unquote(name: bytes) -> bytes:
    if not (name.startswith(b'"') and name.endswith(b'"') and len(name) > 1):
        return name
    return _ESCAPE.sub(_unescape, name[1:-1])


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes((int(code, 8) & 0xFF,)) if len(code) == 3 else _ESCAPES.get(code, code)
