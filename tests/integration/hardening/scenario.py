"""What a scenario is: a tiny real project, broken in one way, and what has to become of it.

Scenarios are data; ``scenario_stage.py`` plays them with the real tools and services, ``scenarios.py`` lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Fixed", "Left", "Scenario"]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The failure is fixed, in one or several steps, and the same command then passes.

    Attributes:
        patterns: ids that were diagnosed, in the order of the steps.
        does: for each step, words that stand in the description of what was done (``action_words``).
        consent: the mitigations are not automatic: without consent they are refused and nothing changes.
    """

    patterns: tuple[str, ...]
    does: tuple[str, ...]
    consent: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing is done, every byte stays as it was, and a person is told what to do.

    Attributes:
        pattern: id of what is diagnosed.
        says: words that stand in the suggestions.
        consent_helps: a person may allow it after all; otherwise consent changes nothing either.
    """

    pattern: str
    says: str
    consent_helps: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One project and how it is broken.

    Attributes:
        name: ``family/what-is-broken``; unique.
        broken: the same in words, for the table of the documents.
        files: the project, by path. An empty first line is dropped.
        command: what fails.
        cwd: where it runs, relative to the project.
        expected: what has to become of it.
        setup: shell commands of the project's author before the commit, for example to make a lock file.
        install: whether the project's dependencies are installed before it is broken, as its own install steps do.
        breaks: shell commands that break it, where the files alone do not: the agent of a run.
        env: variables of the command.
        via: ``run``: a run of the orchestrator whose validation is the command. ``applier``: the same diagnosis applied
            by :mod:`autopack_client.mitigate` in a checkout, which can be given consent, and has a ``.git`` of its own.
        needs: programs without which the scenario is skipped.
        runtimes: (runtime, beginning of a version) without which it is skipped, and which the search path has not.
    """

    name: str
    broken: str
    files: Mapping[str, str]
    command: tuple[str, ...]
    expected: Fixed | Left
    cwd: str = "."
    setup: str = ""
    install: bool = False
    breaks: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    via: Literal["run", "applier"] = "run"
    needs: tuple[str, ...] = ()
    runtimes: tuple[tuple[str, str], ...] = ()

    @property
    def family(self) -> str:
        """The tool that fails."""
        return self.name.partition("/")[0]
