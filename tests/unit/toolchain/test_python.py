"""Python: managers and steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import Detection, Project, StepKind

Detect = Callable[..., Detection]
PEP621 = '[project]\nname = "app"\ndependencies = ["requests>=2"]\n'
TEST = "def test_ok():\n    assert True\n"


def only(detection: Detection) -> Project:
    assert len(detection.projects) == 1, detection
    return detection.projects[0]


def line(project: Project, kind: StepKind) -> str:
    step = project.step(kind)
    return step.command.line() if step else ""


@pytest.mark.parametrize(
    ("files", "manager", "install", "test"),
    [
        (
            {"requirements.txt": "requests\npytest\n", "tests/test_a.py": TEST},
            "pip",
            "python -m pip install -r requirements.txt",
            "python -m pytest",
        ),
        (
            {"pyproject.toml": PEP621 + '[project.optional-dependencies]\ntest = ["pytest"]\n', "test_a.py": TEST},
            "pip",
            "python -m pip install -e '.[test]'",
            "python -m pytest",
        ),
        (
            {"pyproject.toml": PEP621 + '[dependency-groups]\ntest = ["pytest"]\n', "test_a.py": TEST},
            "pip",
            "python -m pip install pytest -e .",
            "python -m pytest",
        ),
        (
            {
                "setup.py": "from setuptools import setup\nsetup(name='a', extras_require={'dev': ['pytest']})\n",
                "test_a.py": TEST,
            },
            "pip",
            "python -m pip install -e '.[dev]'",
            "python -m pytest",
        ),
        (
            {"requirements.txt": "flask\n", "requirements-dev.txt": "-r requirements.txt\npytest\n", "test_a.py": TEST},
            "pip",
            "python -m pip install -r requirements.txt -r requirements-dev.txt",
            "python -m pytest",
        ),
        (
            {"pyproject.toml": PEP621 + '[dependency-groups]\ndev = ["pytest"]\n', "uv.lock": "", "test_a.py": TEST},
            "uv",
            "uv sync",
            "uv run pytest",
        ),
        (
            {
                "pyproject.toml": '[tool.poetry]\nname = "a"\n[tool.poetry.group.test]\noptional = true\n'
                '[tool.poetry.group.test.dependencies]\npytest = "*"\n',
                "poetry.lock": "",
                "test_a.py": TEST,
            },
            "poetry",
            "poetry install --with test",
            "poetry run pytest",
        ),
        (
            {
                "pyproject.toml": PEP621 + '[tool.pdm.dev-dependencies]\ntest = ["pytest"]\n',
                "pdm.lock": "",
                "test_a.py": TEST,
            },
            "pdm",
            "pdm install",
            "pdm run pytest",
        ),
        (
            {"Pipfile": '[dev-packages]\npytest = "*"\n', "Pipfile.lock": "{}", "test_a.py": TEST},
            "pipenv",
            "pipenv sync --dev",
            "pipenv run pytest",
        ),
    ],
    ids=["requirements", "extra", "group", "setup.py", "two files", "uv", "poetry", "pdm", "pipenv"],
)
def test_each_manager_gives_its_own_commands(
    detect_files: Detect, files: dict[str, str], manager: str, install: str, test: str
) -> None:
    project = only(detect_files(files))
    assert project.package_manager.name == manager
    assert line(project, StepKind.INSTALL) == install
    assert line(project, StepKind.TEST) == test


def test_a_dependency_group_is_installed_by_its_requirements_and_those_it_includes_without_end(
    detect_files: Detect,
) -> None:
    groups = """
[dependency-groups]
runner = ["pytest>=8", {include-group = "test"}]
test = ["coverage", {include-group = "runner"}]
"""
    project = only(detect_files({"pyproject.toml": PEP621 + groups, "test_a.py": TEST}))
    assert line(project, StepKind.INSTALL) == "python -m pip install coverage 'pytest>=8' -e ."


def test_what_tox_brings_for_the_tests_is_installed_with_pip(detect_files: Detect) -> None:
    files = {"tox.ini": "[testenv]\ndeps =\n  pytest>=8\n  py38: tomli\ncommands = pytest\n", "test_a.py": TEST}
    setup = {"setup.py": "from setuptools import setup\nsetup(name='a')\n"}
    project = only(detect_files(files | setup))
    assert line(project, StepKind.INSTALL) == "python -m pip install 'pytest>=8' -e ."
    project = only(detect_files(files | {"pyproject.toml": PEP621, "uv.lock": ""}))
    assert line(project, StepKind.INSTALL) == "uv sync"


def test_pytest_that_nothing_declares_is_installed_for_the_tests_that_need_it(detect_files: Detect) -> None:
    project = only(detect_files({"pyproject.toml": PEP621, "test_a.py": TEST}))
    assert line(project, StepKind.INSTALL) == "python -m pip install pytest -e ."
    assert line(project, StepKind.TEST) == "python -m pytest"


def test_a_dependency_that_contains_the_name_of_a_manager_is_no_evidence_for_it(detect_files: Detect) -> None:
    project = only(detect_files({"requirements.txt": "uvicorn\npoetry-plugin-export\n"}))
    assert project.package_manager.name == "pip"
    assert project.package_manager.alternatives == ()


def test_no_test_file_means_no_test_step_even_when_pytest_is_configured(detect_files: Detect) -> None:
    project = only(detect_files({"pyproject.toml": PEP621, "pytest.ini": "[pytest]\n"}))
    assert project.step(StepKind.TEST) is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["tests/test_a.py"], "python -m unittest discover -s tests"),
        (["tests/__init__.py", "tests/test_a.py"], "python -m unittest discover"),
        (["test_a.py"], "python -m unittest discover"),
        (["checks/a_test.py"], "python -m unittest discover -s checks -p '*_test.py'"),
    ],
)
def test_tests_without_a_sign_of_pytest_run_with_unittest_from_where_it_finds_them(
    detect_files: Detect, paths: list[str], expected: str
) -> None:
    text = "import unittest\n\nclass A(unittest.TestCase):\n    def test_a(self):\n        pass\n"
    project = only(detect_files({"setup.py": "", **dict.fromkeys(paths, text)}))
    assert line(project, StepKind.TEST) == expected


def test_pytest_that_nothing_declares_is_proposed_with_a_warning_that_names_the_file(detect_files: Detect) -> None:
    detection = detect_files({"pyproject.toml": PEP621, "tests/test_a.py": "\nimport pytest\n"})
    step = only(detection).step(StepKind.TEST)
    assert step is not None
    assert [(e.path, e.line) for e in step.evidence] == [("tests/test_a.py", 2)]
    assert [w.reason for w in detection.warnings] == ["TEST_RUNNER_NOT_DECLARED"]


def test_a_lock_file_without_its_manifest_gives_no_steps_of_that_manager(detect_files: Detect) -> None:
    detection = detect_files({"uv.lock": "", "requirements.txt": "flask\n"})
    project = only(detection)
    assert project.package_manager.name == "pip"
    assert not any("uv" in step.command.argv for step in project.steps)
    assert [w.reason for w in detection.warnings] == ["LOCK_WITHOUT_MANIFEST"]


def test_two_lock_files_give_alternatives_and_a_warning_that_names_both(detect_files: Detect) -> None:
    detection = detect_files({"pyproject.toml": PEP621, "uv.lock": "", "poetry.lock": ""})
    manager = only(detection).package_manager
    assert {manager.name, *(other.name for other in manager.alternatives)} == {"uv", "poetry"}
    assert manager.confidence < 0.8
    (warning,) = detection.warnings
    assert warning.reason == "CONFLICTING_LOCK_FILES"
    assert sorted(warning.paths) == ["poetry.lock", "uv.lock"]


def test_hashed_requirements_are_installed_without_the_editable_project(detect_files: Detect) -> None:
    files = {"requirements.txt": "requests==2.0 \\\n    --hash=sha256:00\n", "pyproject.toml": PEP621}
    assert line(only(detect_files(files)), StepKind.INSTALL) == "python -m pip install -r requirements.txt"


def test_requirements_that_install_the_project_are_not_followed_by_it_again(detect_files: Detect) -> None:
    files = {"requirements.txt": "-e .[http2]\n", "pyproject.toml": PEP621}
    assert line(only(detect_files(files)), StepKind.INSTALL) == "python -m pip install -r requirements.txt"


def test_a_member_of_a_uv_workspace_is_managed_by_uv(detect_files: Detect) -> None:
    root = PEP621 + '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    detection = detect_files({"pyproject.toml": root, "uv.lock": "", "packages/a/pyproject.toml": PEP621})
    assert [(p.workdir, p.package_manager.name) for p in detection.projects] == [(".", "uv"), ("packages/a", "uv")]


def test_checks_are_proposed_only_for_tools_that_install_brings(detect_files: Detect) -> None:
    files = {
        "pyproject.toml": PEP621
        + '[dependency-groups]\ndev = ["ruff", "mypy"]\n[tool.ruff]\n[tool.mypy]\nfiles = ["src"]\n[tool.black]\n',
        "uv.lock": "",
    }
    project = only(detect_files(files))
    assert line(project, StepKind.LINT) == "uv run ruff check ."
    assert line(project, StepKind.TYPECHECK) == "uv run mypy"
    assert line(project, StepKind.FORMAT) == "uv run ruff format --check ."


def test_versions_of_python_carry_their_source(detect_files: Detect) -> None:
    files = {"pyproject.toml": PEP621 + 'requires-python = ">=3.11"\n', ".python-version": "3.12\n"}
    found = {(r.constraint, r.source.path, r.source.line) for r in only(detect_files(files)).runtime_versions}
    assert found == {(">=3.11", "pyproject.toml", 4), ("3.12", ".python-version", 1)}


def test_files_without_a_manifest_are_a_project_that_installs_only_what_its_tests_need(detect_files: Detect) -> None:
    project = only(detect_files({"main.py": "", "test_main.py": TEST}))
    assert project.confidence <= 0.5
    assert line(project, StepKind.INSTALL) == "python -m pip install pytest"
    assert line(project, StepKind.TEST) == "python -m pytest"
    project = only(detect_files({"main.py": "", "test_main.py": "import unittest\n"}))
    assert project.step(StepKind.INSTALL) is None


def test_a_make_target_that_does_more_than_call_the_runner_stands_first(detect_files: Detect) -> None:
    make = "test: generate\n\tpython -m pytest\ngenerate:\n\tpython generate.py\n"
    files = {"requirements.txt": "pytest\n", "test_a.py": TEST, "Makefile": make}
    assert line(only(detect_files(files)), StepKind.TEST) == "make test"


def test_a_make_target_that_only_calls_the_runner_stands_second(detect_files: Detect) -> None:
    files = {"requirements.txt": "pytest\n", "test_a.py": TEST, "Makefile": "test:\n\t@echo go\n\tpytest tests\n"}
    tests = [s.command.line() for s in only(detect_files(files)).steps if s.kind is StepKind.TEST]
    assert tests == ["python -m pytest", "make test"]
