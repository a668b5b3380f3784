"""Names of batches, runs and branches, and which of them are allowed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

__all__ = ["batch_id", "branch", "problem_with_batch_name", "problem_with_name", "problem_with_run_name", "run_id"]

MAX_RUN_NAME = 64  # with the batch's id it stays far below git's and the file system's 255 bytes per name
MAX_BATCH_NAME = 40
ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # without characters that are mistaken for each other
ID_LENGTH = 6  # 30**6 = 729 million; the store refuses the rare duplicate and the caller draws again

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_BATCH_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def problem_with_run_name(name: str) -> str | None:
    """What is wrong with a run's name, or None. The name becomes a path component and the end of a branch name."""
    return problem_with_name(name, MAX_RUN_NAME)


def problem_with_name(name: str, longest: int) -> str | None:
    """What is wrong with a name, with what would be right; None for a good one.

    Stricter than ``git check-ref-format``: what passes is valid as a component of a branch name and as a file name.
    """
    rule = f"use 1 to {longest} letters, digits, '.', '_' or '-'"
    if not name:
        return f"must not be empty; {rule}"
    if len(name) > longest:
        return f"has {len(name)} characters; {rule}"
    if not _NAME.fullmatch(name):
        return f"contains a character that is not allowed; {rule}"
    if name[0] in "-.":
        return f"must not begin with {name[0]!r}; begin with a letter or digit"
    if ".." in name or name.endswith((".", ".lock")):
        return "must not contain '..' nor end in '.' or '.lock': git refuses such branches"
    return None


def problem_with_batch_name(name: str) -> str | None:
    """What is wrong with a batch's name, or None."""
    if len(name) > MAX_BATCH_NAME:
        return f"has {len(name)} characters; use at most {MAX_BATCH_NAME}"
    if not _BATCH_NAME.fullmatch(name) or name.endswith("-"):
        return "may only have lower-case letters, digits and '-', and must begin and end with a letter or digit"
    return None


def batch_id(name: str) -> str:
    """A new id: the batch's name and six random characters."""
    return f"{name}-{''.join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))}"


def run_id(batch: str, name: str) -> str:
    """The id of a run: unique because names are unique in a batch."""
    return f"{batch}.{name}"


def branch(batch: str, name: str, attempt: int, taken: Collection[str] = ()) -> str:
    """The branch of an attempt: ``autopack/<batch>/<name>``, from the second attempt on with ``-<attempt>``.

    Args:
        taken: names of the batch's runs: one may itself be called ``fix-2``, and a retry of ``fix`` must not hit it.

    >>> branch("b", "fix", 2), branch("b", "fix", 2, ["fix", "fix-2"])
    ('autopack/b/fix-2', 'autopack/b/fix-2-retry')
    """
    if attempt > 1:
        name = f"{name}-{attempt}"
        while name in taken:
            name += "-retry"
    return f"autopack/{batch}/{name}"
