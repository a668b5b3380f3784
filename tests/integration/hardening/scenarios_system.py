"""Scenarios of git, make and the operating system."""

from __future__ import annotations

from tests.integration.hardening.scenario import Fixed, Left, Scenario

__all__ = ["SYSTEM"]

AUTHOR = {
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.com",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.com",
}

SYSTEM: tuple[Scenario, ...] = (
    Scenario(
        name="make/wrong-directory",
        broken="make runs above the only directory with a Makefile",
        files={"native/Makefile": "check:\n\t@echo checked\n"},
        command=("make",),
        expected=Fixed(("make.no_makefile",), ("run in native",)),
        needs=("make",),
    ),
    Scenario(
        name="git/merge-conflict",
        broken="two branches changed the same line",
        files={"app.txt": "one\n"},
        breaks="git switch -q -c other; echo two > app.txt; git commit -qam two; git switch -q main;"
        " echo three > app.txt; git commit -qam three",
        command=("git", "merge", "other"),
        via="applier",
        env={
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        },
        expected=Left("git.merge_conflict", "conflict"),
    ),
)
