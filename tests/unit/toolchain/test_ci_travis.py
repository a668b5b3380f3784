"""Travis files: phases of one shell, included jobs and alternatives of the environment."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest
from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.workspace import Workspace

Make = Callable[..., Workspace]


def read(workspace_of: Make, text: str) -> list[CiCommand]:
    return read_ci(workspace_of({".travis.yml": dedent(text).lstrip()}))


def test_phases_run_one_after_another_in_one_shell(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        language: python
        env:
          global: [A=1 B='x y', {secure: abc}, C=$D]
        install:
          - cd sub
          - pip install .
        before_script: skip
        script: pytest
        after_success: codecov
        """,
    )
    assert [(c.step, c.script, c.workdir, c.line) for c in commands] == [
        ("install", "cd sub\npip install .", ".", 5),
        ("script", "pytest", "sub", 8),
    ]
    assert commands[1].env == {"A": "1", "B": "x y"}
    assert (commands[1].system, commands[1].triggers) == ("linux", frozenset({"push", "pull_request"}))


def test_included_jobs_take_what_they_do_not_set(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        install: make deps
        jobs:
          include:
            - {name: Lint, script: make lint, env: X=1}
            - {stage: win, os: windows, script: [make win], install: skip}
        """,
    )
    assert [(c.job, c.script, c.system, dict(c.env)) for c in commands] == [
        ("test", "make deps", "linux", {}),
        ("Lint", "make deps", "linux", {"X": "1"}),
        ("Lint", "make lint", "linux", {"X": "1"}),
        ("win", "make win", "windows", {}),
    ]


def test_alternatives_of_the_environment_count_where_the_script_uses_them(workspace_of: Make) -> None:
    assert [dict(c.env) for c in read(workspace_of, "env: [T=a, T=b]\nscript: make $T\n")] == [{"T": "a"}, {"T": "b"}]
    assert [dict(c.env) for c in read(workspace_of, "env: [T=a, T=b]\nscript: make\n")] == [{}]


@pytest.mark.parametrize(
    ("condition", "triggers"),
    [("type = cron", {"schedule"}), ("tag IS present", {"release"}), ("branch = main", {"push", "pull_request"})],
)
def test_a_condition_tells_what_starts_a_job(workspace_of: Make, condition: str, triggers: set[str]) -> None:
    commands = read(workspace_of, f"jobs: {{include: [{{script: make, if: {condition}}}]}}\n")
    assert [command.triggers for command in commands] == [triggers]
