"""Named tasks of a project's own as its steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind
from autopack_toolchain.core.model import Source

Detect = Callable[..., Detection]

PYTHON = {"requirements.txt": "pytest\n", "test_a.py": "import pytest\n"}


def only(detection: Detection) -> Project:
    assert len(detection.projects) == 1, [(p.workdir, p.ecosystem) for p in detection.projects]
    return detection.projects[0]


def first(project: Project, kind: StepKind = StepKind.TEST) -> str:
    step = project.step(kind)
    return step.command.line() if step else ""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"justfile": "test: generate\n  pytest\ngenerate:\n  python gen.py\n"}, "just test"),
        ({"Taskfile.yml": "version: '3'\ntasks:\n  test:\n    cmds: [python -m pytest]\n"}, "task test"),
        ({"mise.toml": '[tasks.test]\nrun = "pytest -x"\n'}, "mise run test"),
        ({"scripts/test": "#!/bin/sh\ncoverage run -m pytest\n"}, "scripts/test"),
        ({"Makefile": "test: lib\n\tpytest\nlib:\n\tmake -C src\n"}, "make test"),
    ],
)
def test_a_task_that_runs_the_tests_is_the_test_step(
    detect_files: Detect, files: dict[str, str], expected: str
) -> None:
    project = only(detect_files({**PYTHON, **files}, executable=frozenset({"scripts/test"})))
    assert first(project) == expected
    step = project.step(StepKind.TEST)
    assert step is not None
    assert step.source is Source.TASK


def test_tox_stands_behind_the_runner_and_is_still_told(detect_files: Detect) -> None:
    files = {
        **PYTHON,
        "tox.ini": "[tox]\nenv_list = py311, lint\n"
        "[testenv]\ncommands = pytest\n[testenv:lint]\ncommands = ruff check\n",
    }
    project = only(detect_files(files))
    assert first(project) == "python -m pytest"
    assert any(step.command.argv[0] == "tox" for step in project.steps if step.kind is StepKind.TEST)
    assert first(project, StepKind.LINT) == "tox -e lint"


def test_tox_is_the_test_step_where_nothing_else_is_known(detect_files: Detect) -> None:
    files = {
        "setup.py": "from setuptools import setup\nsetup()\n",
        "tox.ini": "[tox]\nenvlist = py311\n[testenv]\ncommands = custom\n",
    }
    assert first(only(detect_files(files))) == "tox"


@pytest.mark.parametrize("body", ["docker compose run tests", "@echo nothing", "kubectl apply -f test.yaml"])
def test_a_task_that_needs_a_daemon_or_does_nothing_is_no_step(detect_files: Detect, body: str) -> None:
    project = only(detect_files({**PYTHON, "Makefile": f"test:\n\t{body}\n"}))
    assert "make test" not in {step.command.line() for step in project.steps}


def test_a_task_goes_to_the_ecosystem_that_its_body_speaks_for(detect_files: Detect) -> None:
    files = {
        **PYTHON,
        "package.json": '{"devDependencies": {"vitest": "1"}}',
        "a.test.js": "",
        "Makefile": "test:\n\tnpx vitest run --coverage --reporter dot && node check.js\n"
        "lint:\n\truff check . && mypy src\n",
    }
    projects = {project.ecosystem: project for project in detect_files(files).projects}
    assert first(projects["node"]) == "make test"
    assert first(projects["python"], StepKind.LINT) == "make lint"
    assert "make test" not in {step.command.line() for step in projects["python"].steps}
