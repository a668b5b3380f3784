"""Commands from a repository's own CI and task runners: what detection makes of them is run, with the real tools."""

from __future__ import annotations

import json

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

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "calc"
version = "1.0.0"
requires-python = ">=3.11"

[dependency-groups]
dev = ["pytest==8.3.4", "poethepoet==0.32.1"]
"""

NODE_TEST = """
const { test } = require("node:test");
const assert = require("node:assert");
const fs = require("node:fs");

test("adds", () => {
  fs.writeFileSync("the-test-ran", "");
  assert.strictEqual(40 + 2, 42);
});
"""


def workflow(*steps: str, extra: str = "") -> str:
    """A workflow as people write them; each of ``steps`` is the text of a ``run`` block."""
    lines = "".join(f"      - run: |\n          {step}\n" for step in steps)
    return f"""
name: CI
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
{extra}    strategy:
      matrix:
        version: ["3.11", "3.12"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{{{ matrix.version }}}}
{lines}      - run: echo "version ${{{{ matrix.version }}}}" >> "$GITHUB_OUTPUT"
      - run: ./upload.sh ${{{{ secrets.TOKEN }}}}
        if: github.ref == 'refs/heads/main'
"""


def test_the_workflow_of_a_pip_project(project: RealProject) -> None:
    steps = (
        "python -m pip install --upgrade pip",
        "pip install -r requirements/ci.txt\n          pip install -e .",
        "pytest -x tests",
    )
    project.write(
        {
            ".github/workflows/ci.yml": workflow(*steps),
            "requirements/ci.txt": "pytest==8.3.4\n",
            "pyproject.toml": PYPROJECT[: PYPROJECT.index("[dependency-groups]")],
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n",
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


def test_the_workflow_of_a_uv_project_that_lets_tox_choose(project: RealProject) -> None:
    steps = (
        "uv sync --locked --all-groups",
        "uv run tox -e py${{ matrix.version }}",
        "uv run pytest -q --strict-markers",
    )
    project.write(
        {
            ".github/workflows/ci.yml": workflow(*steps),
            "pyproject.toml": PYPROJECT,
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n",
        }
    )
    project.tool("uv", "lock")
    project.prove(manager="uv", test="tests/test_calc.py")


def test_a_backend_and_a_frontend_with_working_directories(project: RealProject) -> None:
    project.needs("npm")
    extra = "    defaults:\n      run:\n        working-directory: {}\n"
    scripts = {
        "test:unit": "node --test",
        "test": "echo all && npm run test:unit && npm run test:e2e",
        "test:e2e": "false",
    }
    project.write(
        {
            ".github/workflows/backend.yml": workflow("uv sync", "uv run pytest", extra=extra.format("backend")),
            ".github/workflows/frontend.yml": workflow("npm ci", "npm run test:unit", extra=extra.format("frontend")),
            "backend/pyproject.toml": PYPROJECT,
            "backend/src/calc/__init__.py": CALC,
            "backend/tests/test_calc.py": TEST,
            "frontend/package.json": json.dumps({"name": "web", "version": "1.0.0", "scripts": scripts}),
            "frontend/test/web.test.js": NODE_TEST,
            ".gitignore": ".venv/\n__pycache__/\nnode_modules/\n",
        }
    )
    project.tool("npm", "install", "--package-lock-only", cwd="frontend")
    project.tool("uv", "lock", cwd="backend")
    project.prove(manager="uv", workdir="backend", test="backend/tests/test_calc.py")
    project.forget()
    project.prove(manager="npm", workdir="frontend", test="frontend/test/web.test.js")


def test_the_workflow_of_a_go_project(project: RealProject) -> None:
    project.needs("go")
    test = """
package calc

import (
	"os"
	"testing"
)

func TestAdd(t *testing.T) {
	_ = os.WriteFile("the-test-ran", nil, 0o600)
	if 40+2 != 42 {
		t.Fatal("wrong")
	}
}
"""
    steps = ("go mod download", "go vet ./...", "go test -v -coverprofile=coverage.out ./...")
    project.write(
        {
            ".github/workflows/ci.yml": workflow(*steps),
            "go.mod": "module example.com/calc\n\ngo 1.19\n",
            "calc_test.go": test,
        }
    )
    project.prove(manager="go", test="calc_test.go", also=(StepKind.LINT,))


def test_a_make_target_that_prepares_the_tests(project: RealProject) -> None:
    makefile = """
.PHONY: test lint generate
generate:
	python -c "open('generated.py', 'w').write('ANSWER = 42')"
test: generate
	python -m pytest -q
lint:
	python -m compileall -q calc.py
"""
    test = TEST.replace("from calc", "from generated import ANSWER\nfrom calc").replace("== 42", "== ANSWER  # 42")
    project.write(
        {
            "Makefile": makefile,
            "requirements.txt": "pytest==8.3.4\n",
            "calc.py": CALC,
            "test_calc.py": test.replace("assert add(40, 2) == ANSWER  # 42", "assert add(ANSWER, 0) == 42"),
            ".gitignore": ".venv/\n__pycache__/\ngenerated.py\n",
        }
    )
    project.prove(manager="pip", test="test_calc.py", also=(StepKind.LINT,))


def test_tasks_of_poe_in_a_uv_project(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": PYPROJECT + '\n[tool.poe.tasks]\ntest = "pytest -q tests"\n',
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n",
        }
    )
    project.tool("uv", "lock")
    project.prove(manager="uv", test="tests/test_calc.py")


@pytest.mark.long
def test_scripts_of_pdm(project: RealProject) -> None:
    project.write(
        {
            "pyproject.toml": PYPROJECT
            + '\n[tool.pdm.scripts]\ntest = "pytest -q tests"\nlint = "python -m compileall -q src"\n',
            "src/calc/__init__.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n.pdm-python\n",
        }
    )
    project.tool("pdm", "lock")
    project.prove(manager="pdm", test="tests/test_calc.py", also=(StepKind.LINT,))


SETUP_PY = 'from setuptools import setup\n\nsetup(name="calc", version="1.0.0", py_modules=["calc"])\n'


@pytest.mark.long
def test_a_workflow_that_runs_tox(project: RealProject) -> None:
    project.write(
        {
            ".github/workflows/ci.yml": workflow("pip install tox", "tox -e py"),
            "tox.ini": "[tox]\nenvlist = py\n\n[testenv]\ndeps = pytest==8.3.4\ncommands = pytest {posargs}\n",
            "setup.py": SETUP_PY,
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n*.egg-info/\n.tox/\n",
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


@pytest.mark.long
def test_a_workflow_that_runs_nox(project: RealProject) -> None:
    noxfile = """
import nox


@nox.session
def tests(session: nox.Session) -> None:
    session.install("pytest==8.3.4", ".")
    session.run("pytest", *session.posargs)
"""
    project.write(
        {
            ".github/workflows/ci.yml": workflow("pipx install nox", "nox -s tests"),
            "noxfile.py": noxfile,
            "setup.py": SETUP_PY,
            "calc.py": CALC,
            "tests/test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n*.egg-info/\n.nox/\n",
        }
    )
    project.prove(manager="pip", test="tests/test_calc.py")


def test_recipes_of_just(project: RealProject) -> None:
    justfile = "default: test\n\n# Run the tests\ntest *args:\n    python -m pytest -q {{args}}\n"
    project.write(
        {
            "justfile": justfile,
            "requirements.txt": "pytest==8.3.4\n",
            "calc.py": CALC,
            "test_calc.py": TEST,
            ".gitignore": ".venv/\n__pycache__/\n",
        }
    )
    project.prove(manager="pip", test="test_calc.py")


def test_the_workflow_of_a_cmake_project(project: RealProject) -> None:
    project.needs("cmake", "cc", "make")
    manifest = """
cmake_minimum_required(VERSION 3.16)
project(calc C)
enable_testing()
add_executable(test_calc test_calc.c)
add_test(NAME adds COMMAND test_calc)
"""
    test = """
#include <stdio.h>

int main(void) {
    FILE *proof = fopen("the-test-ran", "w");
    if (proof == NULL) return 2;
    fclose(proof);
    return 40 + 2 == 42 ? 0 : 1;
}
"""
    steps = ("cmake -B build -DCMAKE_BUILD_TYPE=Release", "cmake --build build", "ctest --test-dir build")
    project.write(
        {
            ".github/workflows/ci.yml": workflow(*steps),
            "CMakeLists.txt": manifest,
            "test_calc.c": test,
            ".gitignore": "build/\n",
        }
    )
    project.prove(manager="cmake", test="test_calc.c", installs=False)


def test_the_workflow_of_a_rust_project(project: RealProject) -> None:
    project.needs("cargo", "cargo-clippy", "cargo-fmt")
    library = """
#[test]
fn adds() {
    std::fs::write("the-test-ran", "").unwrap();
    assert_eq!(40 + 2, 42);
}
"""
    steps = (
        "cargo fmt --all -- --check",
        "cargo clippy --all-targets --all-features -- -D warnings",
        "RUST_BACKTRACE=1 cargo test --verbose --all-features",
    )
    project.write(
        {
            ".github/workflows/ci.yml": workflow(*steps),
            "Cargo.toml": '[package]\nname = "calc"\nversion = "1.0.0"\nedition = "2021"\n',
            "src/lib.rs": library,
            ".gitignore": "target/\n",
        }
    )
    checks = (StepKind.BUILD, StepKind.LINT, StepKind.FORMAT)
    project.prove(manager="cargo", test="src/lib.rs", also=checks, installs=False)


def test_a_workspace_of_go(project: RealProject) -> None:
    project.needs("go")
    test = """
package sums

import (
	"os"
	"testing"

	"example.com/calc"
)

func TestAdd(t *testing.T) {
	_ = os.WriteFile("the-test-ran", nil, 0o600)
	if calc.Add(40, 2) != 42 {
		t.Fatal("wrong")
	}
}
"""
    library = "// Package calc adds.\npackage calc\n\n// Add adds.\nfunc Add(a, b int) int { return a + b }\n"
    project.write(
        {
            "go.work": "go 1.19\n\nuse (\n\t./calc\n\t./sums\n)\n",
            "calc/go.mod": "module example.com/calc\n\ngo 1.19\n",
            "calc/calc.go": library,
            "sums/go.mod": "module example.com/sums\n\ngo 1.19\n",
            "sums/sums_test.go": test,
        }
    )
    project.prove(manager="go", workdir="sums", test="sums/sums_test.go", installs=False)


@pytest.mark.long
def test_a_member_of_a_pnpm_workspace_without_a_script(project: RealProject) -> None:
    project.needs("pnpm")
    test = """
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";

test("adds", () => {
  writeFileSync("the-test-ran", "");
  expect(40 + 2).toBe(42);
});
"""
    member = {"name": "web", "version": "1.0.0", "type": "module", "devDependencies": {"vitest": "3.2.4"}}
    project.write(
        {
            "package.json": json.dumps({"name": "all", "version": "1.0.0", "private": True}),
            "pnpm-workspace.yaml": "packages:\n  - 'packages/*'\n",
            "packages/web/package.json": json.dumps(member),
            "packages/web/src/web.test.ts": test,
            ".gitignore": "node_modules/\n",
        }
    )
    project.tool("pnpm", "install", "--lockfile-only")
    project.prove(manager="pnpm", workdir="packages/web", test="packages/web/src/web.test.ts")
