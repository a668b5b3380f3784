"""CircleCI configurations: jobs of workflows, reusable commands, parameters and orbs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from textwrap import dedent

from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.shell import PLACEHOLDER
from autopack_toolchain.core.workspace import Workspace

Make = Callable[..., Workspace]


def read(workspace_of: Make, text: str) -> list[CiCommand]:
    return read_ci(workspace_of({".circleci/config.yml": dedent(text).lstrip()}))


def test_steps_of_a_job_are_read_in_all_their_forms(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        version: 2.1
        jobs:
          unit:
            docker: [{image: "cimg/python:3.12"}]
            working_directory: ~/repo
            environment: {A: "1"}
            steps:
              - checkout
              - run: make a
              - run:
                  name: Tests
                  command: |
                    pytest
                  working_directory: ~/repo/sub
                  shell: /bin/sh
                  environment: [{B: "2"}, {C: $X}]
                  when: on_fail
              - restore_cache: {keys: [x]}
              - run: {command: make c, working_directory: other}
        workflows:
          main: {jobs: [unit]}
        """,
    )
    assert [(c.script.strip(), c.workdir, c.shell) for c in commands] == [
        ("make a", ".", "bash"),
        ("pytest", "sub", "sh"),
        ("make c", "other", "bash"),
    ]
    tests = commands[1]
    assert (tests.line, tests.workflow, tests.job, tests.step) == (13, "main", "unit", "Tests")
    assert (tests.env, tests.condition) == ({"A": "1", "B": "2"}, "on_fail")
    assert (tests.system, tests.triggers) == ("linux", frozenset({"push"}))


def test_commands_are_entered_with_their_parameters(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        parameters: {tool: {type: string, default: just}}
        commands:
          outer:
            parameters: {x: {type: string}}
            steps:
              - inner: {target: "<< parameters.x >>"}
              - run: make << parameters.x >> << pipeline.parameters.tool >>
          inner:
            parameters: {target: {type: string, default: all}, late: {type: string}}
            steps: [{run: "make <<parameters.target>> << parameters.late >>"}]
          endless: {steps: [endless, {run: make z}]}
        jobs:
          a: {steps: [inner, {outer: {x: unit}}, endless]}
        workflows: {w: {jobs: [a]}}
        """,
    )
    found = list(dict.fromkeys(command.script for command in commands))
    assert found == [
        f"make all {PLACEHOLDER}",
        f"make unit {PLACEHOLDER}",
        "make unit just",
        "make z",
    ]
    assert commands[0].depth == 1


def test_a_job_is_read_with_what_each_workflow_gives_it(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        executors: {mac: {macos: {xcode: "16"}}}
        jobs:
          a:
            parameters: {env: {type: string}, run: {type: executor, default: mac}}
            executor: << parameters.run >>
            steps: [{run: tox -e << parameters.env >>}]
          unused: {steps: [{run: make unused}]}
        workflows:
          one:
            jobs:
              - a: {matrix: {parameters: {env: [x, y]}}, pre-steps: [{run: make pre}]}
          two:
            triggers: [{schedule: {cron: "0 0 * * *"}}]
            jobs: [a: {env: z}]
          three:
            jobs:
              - a: {env: t, filters: {tags: {only: /v.*/}, branches: {ignore: /.*/}}}
        """,
    )
    assert [(c.script, *c.triggers) for c in commands] == [
        ("make pre", "push"),
        ("tox -e x", "push"),
        ("tox -e y", "push"),
        ("tox -e z", "schedule"),
        ("tox -e t", "release"),
    ]
    assert {command.system for command in commands} == {"macos"}


def test_what_orbs_are_used_for_is_told_with_its_parameters(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        orbs: {node: circleci/node@7.1.1}
        jobs:
          a: {docker: [], steps: [node/install, {node/install-packages: {pkg-manager: pnpm}}, unknown/step]}
        workflows:
          w: {jobs: [a, {node/test: {version: "20"}}]}
        """,
    )
    assert [(c.uses, dict(c.with_)) for c in commands] == [
        ("circleci/node/install", {}),
        ("circleci/node/install-packages", {"pkg-manager": "pnpm"}),
        ("circleci/node/test", {"version": "20"}),
    ]


def test_conditional_steps_are_read_unless_they_never_run(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        jobs:
          a:
            parameters: {x: {type: boolean, default: false}}
            steps:
              - when: {condition: << parameters.x >>, steps: [run: make a]}
              - unless: {condition: << parameters.x >>, steps: [run: make b]}
              - when: {condition: {equal: [1, 2]}, steps: [run: make c]}
        """,
    )
    assert [(c.script, c.condition) for c in commands] == [("make b", ""), ("make c", "when condition")]


def test_steps_that_are_given_as_a_parameter_are_read(workspace_of: Make) -> None:
    commands = read(
        workspace_of,
        """
        commands:
          wrap:
            parameters: {inner: {type: steps}}
            steps: [{run: make a}, {steps: << parameters.inner >>}]
        jobs:
          a: {steps: [{wrap: {inner: [{run: make b}]}}]}
        """,
    )
    assert [command.script for command in commands] == ["make a", "make b"]


def test_here_documents_are_no_parameters(workspace_of: Make) -> None:
    text = "jobs:\n  a:\n    steps:\n      - run: cat << EOF >> file\n"
    assert [command.script for command in read(workspace_of, text)] == ["cat << EOF >> file"]


def test_commands_that_use_each_other_many_times_are_bounded(workspace_of: Make) -> None:
    names = [f"c{n}" for n in range(8)]
    lines = "".join(f"  {a}: {{steps: [{', '.join([b] * 9)}]}}\n" for a, b in pairwise(names))
    text = f"commands:\n{lines}jobs:\n  a: {{steps: [c0]}}\n"
    assert read(workspace_of, text) == []
