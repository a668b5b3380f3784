"""What a change shows about itself: paths, hunk headers, added identifiers. Never what its author says about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCORED_HUNK_HEADERS", "SCORED_IDENTIFIERS", "SCORED_PATHS", "Evidence", "FileChange"]

SCORED_PATHS = 30
"""Paths that are compared with the goal: the method was measured with these caps. Scope is checked on every path."""

_TEXT_CHARS = 16_384
"""Twenty times the usual change; only generated names are longer."""

SCORED_HUNK_HEADERS = 10
SCORED_IDENTIFIERS = 30


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file.

    Attributes:
        path: after the change; before it, if the file was deleted.
        hunk_headers: the text after the second ``@@`` of its hunks.
        added_identifiers: identifiers on its added lines, the most frequent first.
        added: the file did not exist before.
    """

    path: str
    hunk_headers: tuple[str, ...] = ()
    added_identifiers: tuple[str, ...] = ()
    added: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """One change, as ``git diff -U0`` tells it.

    Attributes:
        paths: every path it touches: both ends of a rename, and deleted files too.
        hunk_headers: the text after the second ``@@`` of its hunks: the enclosing function or section.
        added_identifiers: identifiers on added lines, the most frequent first.
        files: the same, file by file; empty where the caller does not know it.
    """

    paths: tuple[str, ...] = ()
    hunk_headers: tuple[str, ...] = ()
    added_identifiers: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()

    def text(self) -> str:
        """What is compared, as one text."""
        text = "\n".join(
            (
                *self.paths[:SCORED_PATHS],
                *self.hunk_headers[:SCORED_HUNK_HEADERS],
                *self.added_identifiers[:SCORED_IDENTIFIERS],
            )
        )
        return text[:_TEXT_CHARS]
