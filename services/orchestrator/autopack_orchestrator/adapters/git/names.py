"""Names: of runs (which become parts of branch names) and of references that a user gives."""

from __future__ import annotations

import re
from collections.abc import Collection

from autopack_kit.errors import InvalidArgument, invalid_field

__all__ = ["BRANCH_PREFIX", "branch_for", "check_ref", "check_run_name", "run_name_problem"]

BRANCH_PREFIX = "autopack"
MAX_NAME = 64  # two of them and the prefix stay far below the 255 bytes of a file name, which a loose reference is
MAX_REF = 1024  # the longest reference that hosting services accept is shorter
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def run_name_problem(name: str) -> str | None:
    """What is wrong with a run's or batch's name, with what would be right; None for a good one.

    Stricter than ``git check-ref-format``: 1 to 64 of ``A-Z a-z 0-9 . _ -``, no leading ``-`` or ``.``, no ``..``, no
    trailing ``.`` or ``.lock``. What passes here is valid as a component of a branch name and as a file name.
    """
    rule = "use 1 to 64 letters, digits, '.', '_' or '-'"
    if not name:
        return f"must not be empty; {rule}"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters; {rule}"
    if not _NAME.fullmatch(name):
        return f"contains a character that is not allowed; {rule}"
    if name[0] in "-.":
        return f"must not begin with {name[0]!r}; begin with a letter or digit"
    if ".." in name or name.endswith((".", ".lock")):
        return "must not contain '..' nor end in '.' or '.lock': git refuses such branches"
    return None


def check_run_name(name: str, field: str) -> None:
    """Raise :class:`InvalidArgument` naming ``field`` unless ``name`` is a good name."""
    if problem := run_name_problem(name):
        raise invalid_field(field, f"{name[:80]!r} {problem}", reason="INVALID_NAME")


def branch_for(batch: str, name: str, attempt: int = 1, taken: Collection[str] = ()) -> str:
    """``autopack/<batch>/<name>``, from the second attempt on with its number: ``autopack/<batch>/<name>-2``.

    Args:
        taken: the other run names of the batch: a run may itself be called ``fix-2``, and is not to be hit by a retry
        of ``fix``.

    >>> branch_for("b", "fix", 2), branch_for("b", "fix", 2, taken=["fix-2"])
    ('autopack/b/fix-2', 'autopack/b/fix-2-retry')
    """
    if attempt > 1:
        name = f"{name}-{attempt}"
        while name in taken:
            name += "-retry"
    return f"{BRANCH_PREFIX}/{batch}/{name}"


def check_ref(ref: str) -> None:
    """Raise :class:`InvalidArgument` for a reference that could be an option, a search through all history, or no
    reference at all.
    """
    bad = (
        len(ref) > MAX_REF
        or ref.startswith(("-", ":"))
        or "^{/" in ref
        or any(character.isspace() or not character.isprintable() for character in ref)
    )
    if bad:
        raise InvalidArgument(
            f"{ref[:80]!r} is not a branch, tag or commit.",
            reason="INVALID_REF",
            remedy="Give the name of a branch or tag, a commit id, or nothing for HEAD.",
            metadata={"ref": ref[:80]},
        )
