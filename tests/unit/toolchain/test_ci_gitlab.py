"""GitLab CI files: jobs, what they extend, reference and include."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest
from autopack_toolchain.core.ci import CiCommand, read_ci
from autopack_toolchain.core.workspace import Workspace

Make = Callable[..., Workspace]


def read(workspace_of: Make, text: str, more: Mapping[str, str] | None = None) -> list[CiCommand]:
    files = {".gitlab-ci.yml": text, **(more or {})}
    return read_ci(workspace_of({path: dedent(content).lstrip() for path, content in files.items()}))


def test_a_job_runs_its_script_after_what_comes_before(workspace_of: Make) -> None:
    before, script = read(
        workspace_of,
        """
        variables: {A: "1", B: $X}
        default:
          image: python:3.12
          before_script:
            - cd sub
        unit:
          variables: {C: {value: c}}
          script:
            # comment
            - pip install .

            - |
              pytest -q
              echo done
        """,
    )
    assert (before.step, before.line, before.workdir, before.script) == ("before_script", 5, ".", "cd sub")
    assert (script.step, script.job, script.line, script.workdir) == ("", "unit", 10, "sub")
    assert script.script.splitlines() == ["pip install .", "", "", "pytest -q", "echo done"]
    assert script.env == {"A": "1", "C": "c"}
    assert (script.system, script.triggers) == ("linux", frozenset({"push", "pull_request"}))


def test_hidden_jobs_and_keywords_run_nothing(workspace_of: Make) -> None:
    text = """
        stages: [test]
        workflow: {rules: [{if: $CI}]}
        .hidden: {script: [make a]}
        cache: {script: [make b]}
        trigger: {trigger: other}
        job: {script: make c}
        """
    assert [command.script for command in read(workspace_of, text)] == ["make c"]


def test_what_a_job_extends_is_overridden_by_it(workspace_of: Make) -> None:
    text = """
        .a: {before_script: [make a], script: [make x], tags: [windows]}
        .b: {extends: .a, script: [make b]}
        one: {extends: [.b], before_script: []}
        two: {extends: [.a, .b, .missing]}
        three: {extends: three, script: [make c]}
        """
    found = [(command.job, command.script, command.system) for command in read(workspace_of, text)]
    assert found == [
        ("one", "make b", "windows"),
        ("two", "make a", "windows"),
        ("two", "make b", "windows"),
        ("three", "make c", "linux"),
    ]


def test_references_and_aliases_in_a_script_are_followed(workspace_of: Make) -> None:
    text = """
        .setup: &setup [make a, make b]
        .x: {script: [make c]}
        job:
          script:
            - *setup
            - !reference [.x, script]
            - !reference [.missing, script]
            - make d
        """
    (command,) = read(workspace_of, text)
    assert " ".join(command.script.split()) == "make a make b make c make d"


def test_local_includes_are_read_and_overridden(workspace_of: Make) -> None:
    more = {
        "ci/a.gitlab-ci.yml": "one: {script: [make a]}\ntwo: {script: [make a2]}\ninclude: /.gitlab-ci.yml\n",
        "ci/b.yml": "three: {script: [make b]}\n",
        "src/c.yml": "four: {script: [make c]}\n",
    }
    text = """
        include:
          - local: /ci/*.yml
          - src/c.yml
          - remote: 'https://example.com/x.yml'
          - template: Auto.yml
        two: {script: [make own]}
        """
    found = {command.job: (command.script, command.path) for command in read(workspace_of, text, more)}
    assert found == {
        "one": ("make a", "ci/a.gitlab-ci.yml"),
        "two": ("make own", ".gitlab-ci.yml"),
        "three": ("make b", "ci/b.yml"),
    }


def test_a_header_before_the_document_is_passed_over(workspace_of: Make) -> None:
    assert [c.script for c in read(workspace_of, "spec: {inputs: {}}\n---\na: {script: make}\n")] == ["make"]


@pytest.mark.parametrize(
    ("rules", "triggers"),
    [
        ("only: [tags]", {"release"}),
        ("only: {refs: [schedules]}", {"schedule"}),
        ("only: [main, merge_requests]", {"push", "pull_request"}),
        ("when: manual", {"manual"}),
        ("rules: [{if: $CI_COMMIT_TAG}]", {"release"}),
        ('rules: [{if: $CI_PIPELINE_SOURCE == "schedule"}]', {"schedule"}),
        ('rules: [{if: $CI_PIPELINE_SOURCE == "merge_request_event"}, {if: $CI_COMMIT_TAG}]', {"push", "pull_request"}),
        ("rules: [{changes: [a]}]", {"push", "pull_request"}),
        ("rules: [{if: $CI_COMMIT_TAG, when: never}, {when: always}]", {"push", "pull_request"}),
    ],
)
def test_rules_that_say_it_plainly_tell_what_starts_a_job(workspace_of: Make, rules: str, triggers: set[str]) -> None:
    (command,) = read(workspace_of, f"job:\n  script: make\n  {rules}\n")
    assert command.triggers == triggers


def test_a_matrix_whose_variable_the_script_uses_makes_a_command_each(workspace_of: Make) -> None:
    text = """
        job:
          script: [make $KIND]
          parallel: {matrix: [{KIND: [a, b], OTHER: [x, y]}]}
        """
    assert [dict(command.env) for command in read(workspace_of, text)] == [{"KIND": "a"}, {"KIND": "b"}]
