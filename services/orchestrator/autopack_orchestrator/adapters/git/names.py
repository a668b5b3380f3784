"""Names of worktrees, and references that a user gives."""

from __future__ import annotations

from autopack_kit.errors import InvalidArgument

from autopack_orchestrator.core.names import problem_with_name

__all__ = ["check_ref", "worktree_name_problem"]

MAX_WORKTREE_NAME = 200  # with ".index" behind it still below the 255 bytes of a file name
MAX_REF = 1024  # the longest reference that hosting services accept is shorter


def worktree_name_problem(name: str) -> str | None:
    """What is wrong with the name of a worktree, or None: it becomes a file name and stands in git's lock reason."""
    return problem_with_name(name, MAX_WORKTREE_NAME)


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
