"""Python projects of every manager: what detection proposes is run, with the real tools."""

from __future__ import annotations

import pytest
from autopack_toolchain import StepKind

from tests.integration.toolchain.real_project import RealProject

pytestmark = pytest.mark.timeout(900)

CALC = """
def add(a: int, b: int) -> int:
    return a + b
"""

TEST = """
from pathlib import Path

from calc import add


def test_add() -> None:
    Path("the-test-ran").touch()
    assert add(40, 2) == 42
"""

UNITTEST = """
import unittest
from pathlib import Path

from calc import add


class TestAdd(unittest.TestCase):
    def test_add(self) -> None:
        Path("the-test-ran").touch()
        self.assertEqual(add(40, 2), 42)
"""

IGNORED = ".venv/\n__pycache__/\n*.egg-info/\n"

CHECKED = """
[tool.ruff]
line-length = 120

[tool.ruff.lint]
select = ["E", "F", "I"]

[tool.mypy]
strict = true
files = ["src", "tests"]
"""


def test_pip_with_requirements_files(project: RealProject) -> None:
    project.write(
        {
            "requirements.txt": "packaging==24.2\n",
            "requirements-dev.txt": "pytest==8.3.4\nflake8==7.1.1\n",
            "pytest.ini": "[pytest]\npythonpath = .\n",
            ".flake8": "[flake8]\nexclude = .venv\nmax-line-length = 120\n",
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py", also=(StepKind.LINT,))


def test_pip_with_an_installable_project_and_extras(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "calc"
version = "1.0.0"
requires-python = ">=3.11"

[project.optional-dependencies]
test = ["pytest==8.3.4", "mypy==1.14.1", "ruff==0.14.1"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""
            + CHECKED,
            "src/calc/__init__.py": CALC,
            "src/calc/py.typed": "",
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    checks = (StepKind.LINT, StepKind.TYPECHECK)
    project.prove(manager="pip", test="tests/test_calc.py", also=checks)


@pytest.mark.long
def test_pip_with_dependency_groups(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "calc"
version = "1.0.0"

[dependency-groups]
dev = ["pytest==8.3.4"]
""",
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


def test_setup_py_and_unittest(project: RealProject) -> None:
    setup = 'from setuptools import setup\n\nsetup(name="calc", version="1.0.0", py_modules=["calc"])\n'
    project.write({"setup.py": setup, "calc.py": CALC, "tests/test_calc.py": UNITTEST, ".gitignore": IGNORED})
    project.prove(manager="pip", test="tests/test_calc.py")


def test_no_manifest_and_unittest(project: RealProject) -> None:
    project.write({"calc.py": CALC, "test_calc.py": UNITTEST, ".gitignore": IGNORED})
    project.prove(manager="pip", test="test_calc.py", installs=False)


@pytest.mark.long
def test_django(project: RealProject) -> None:
    project.write(
        {
            "requirements.txt": "django==5.1.5\n",
            "manage.py": """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
""",
            "settings.py": """
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["sums"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
""",
            "sums/__init__.py": "",
            "calc.py": CALC,
            "sums/tests.py": UNITTEST.replace("import unittest", "from django.test import TestCase").replace(
                "unittest.TestCase", "TestCase"
            ),
            ".gitignore": IGNORED,
        }
    )
    project.prove(manager="pip", test="sums/tests.py")


def test_poetry(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[tool.poetry]
name = "calc"
version = "1.0.0"
description = ""
authors = []
packages = [{ include = "calc", from = "src" }]

[tool.poetry.dependencies]
python = ">=3.11"
packaging = "24.2"

[tool.poetry.group.test]
optional = true

[tool.poetry.group.test.dependencies]
pytest = "8.3.4"

[tool.poetry.group.lint.dependencies]
flake8 = "7.1.1"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
""",
            ".flake8": "[flake8]\nexclude = .venv\nmax-line-length = 120\n",
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("poetry", "lock")
    project.prove(manager="poetry", test="tests/test_calc.py", also=(StepKind.LINT,))


def test_uv(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "calc"
version = "1.0.0"
requires-python = ">=3.11"

[project.scripts]
calc = "calc:main"

[dependency-groups]
dev = ["ruff==0.14.1", "mypy==1.14.1"]
test = ["pytest==8.3.4"]

[tool.ruff.format]
quote-style = "double"
"""
            + CHECKED.replace('files = ["src", "tests"]', 'files = ["src"]'),
            "src/calc/__init__.py": CALC + "\n\ndef main() -> None:\n    print(add(1, 2))\n",
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("uv", "lock")
    checks = (StepKind.LINT, StepKind.TYPECHECK, StepKind.FORMAT, StepKind.RUN)
    project.prove(manager="uv", test="tests/test_calc.py", also=checks)


def test_a_member_of_a_uv_workspace(project: RealProject) -> None:
    member = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "calc"
version = "1.0.0"
requires-python = ">=3.11"

[dependency-groups]
dev = ["pytest==8.3.4"]
"""
    root = """
[project]
name = "everything"
version = "1.0.0"
requires-python = ">=3.11"

[tool.uv.workspace]
members = ["packages/*"]
"""
    project.write(
        {
            "pyproject.toml": root,
            "packages/calc/pyproject.toml": member,
            "packages/calc/src/calc/__init__.py": CALC,
            "packages/calc/tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("uv", "lock")
    project.prove(manager="uv", workdir="packages/calc", test="packages/calc/tests/test_calc.py")


def test_pdm(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[build-system]
requires = ["pdm-backend"]
build-backend = "pdm.backend"

[project]
name = "calc"
version = "1.0.0"
requires-python = ">=3.11"
dependencies = ["packaging==24.2"]

[dependency-groups]
test = ["pytest==8.3.4"]
""",
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED + ".pdm-python\n",
        }
    )
    project.tool("pdm", "lock")
    project.prove(manager="pdm", test="tests/test_calc.py")


@pytest.mark.long
def test_pipenv(project: RealProject) -> None:
    project.write(
        {
            "Pipfile": '[packages]\npackaging = "==24.2"\n\n[dev-packages]\npytest = "==8.3.4"\n',
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.tool("pipenv", "lock")
    project.prove(manager="pipenv", test="tests/test_calc.py")


def test_tox(project: RealProject) -> None:
    project.write(
        {
            "tox.ini": """
[tox]
envlist = py

[testenv]
deps = pytest==8.3.4
commands = pytest {posargs}
""",
            "setup.cfg": "[metadata]\nname = calc\nversion = 1.0.0\n\n[options]\npy_modules = calc\n",
            "setup.py": "from setuptools import setup\n\nsetup()\n",
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED + ".tox/\n",
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


@pytest.mark.long
def test_nox(project: RealProject) -> None:
    project.write(
        {
            "noxfile.py": """
import nox


@nox.session
def tests(session: nox.Session) -> None:
    session.install("pytest==8.3.4", ".")
    session.run("pytest", *session.posargs)
""",
            "pyproject.toml": """
[build-system]
requires = ["flit_core>=3.4"]
build-backend = "flit_core.buildapi"

[project]
name = "calc"
version = "1.0.0"
description = "Adds"
""",
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED + ".nox/\n",
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


@pytest.mark.long
def test_hatch(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "calc"
version = "1.0.0"

[tool.hatch.envs.default]
dependencies = ["pytest==8.3.4"]

[tool.hatch.envs.default.scripts]
test = "pytest {args:tests}"
""",
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.prove(manager="hatch", test="tests/test_calc.py")
