"""Tasks of Python's runners that are tables: poe, pdm, hatch, pixi."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

POE = """\
[tool.poe.tasks]
lint = "ruff check ."
check = ["lint", "test --fast", { cmd = "mypy ." }, { ref = "docs" }]
serve = { script = "app.main:run" }
legacy.shell = "pytest | tee log"

[tool.poe.tasks.test]
help = "Run the tests"
cmd = ["pytest", "-k", "not slow"]
deps = ["lint"]
cwd = "tests"

[tool.poe.tasks.bump]
cmd = "uv version ${part}"
args = [{ name = "part", required = true }, { name = "note" }]

[tool.poe.tasks.docs]
shell = '''
mkdocs build
'''
"""


def test_tasks_of_poe_are_commands_sequences_and_references(tasks_of: Tasks) -> None:
    tasks = tasks_of({"pyproject.toml": POE})
    assert tasks["lint"] == Task("poe", "lint", "pyproject.toml", 2, ".", ("poe", "lint"), ("ruff check .",))
    assert (tasks["check"].bodies, tasks["check"].needs) == (("mypy .",), ("lint", "test", "docs"))
    assert tasks["serve"].bodies == ("python -m app.main",)
    assert tasks["legacy"].bodies == ("pytest | tee log",)
    assert tasks["docs"].bodies == ("mkdocs build",)


def test_a_table_of_poe_carries_its_directory_its_line_and_what_it_requires(tasks_of: Tasks) -> None:
    tasks = tasks_of({"pyproject.toml": POE})
    test = tasks["test"]
    assert test.bodies == ("cd tests && pytest -k 'not slow'",)
    assert (test.line, test.needs, test.description) == (7, ("lint",), "Run the tests")
    assert tasks["bump"].required == ("part",)


@pytest.mark.parametrize("header", ["[tasks]", "[tool.poe.tasks]"])
def test_poe_may_keep_its_tasks_in_a_file_of_its_own(tasks_of: Tasks, header: str) -> None:
    tasks = tasks_of({"poe_tasks.toml": f'{header}\ntest = "pytest"\n'})
    assert (tasks["test"].path, tasks["test"].line, tasks["test"].bodies) == ("poe_tasks.toml", 2, ("pytest",))


def test_scripts_of_pdm_are_commands_composites_and_hooks(tasks_of: Tasks) -> None:
    text = """\
[tool.pdm.scripts]
_.env_file = ".env"
pre_test = "echo go"
test = "pytest {args:tests}"
lint = { cmd = ["ruff", "check", "a b"], help = "Lint" }
all = { composite = ["lint", "test --fast", "mypy src"] }
serve = { call = "app:main" }
shelled = { shell = "a | b", working_dir = "web" }
"""
    tasks = tasks_of({"pyproject.toml": text})
    assert tasks["test"] == Task(
        "pdm-script", "test", "pyproject.toml", 4, ".", ("pdm", "run", "test"), ("pytest tests",), ("pre_test",)
    )
    assert (tasks["lint"].bodies, tasks["lint"].description) == (("ruff check 'a b'",), "Lint")
    assert (tasks["all"].bodies, tasks["all"].needs) == (("mypy src",), ("lint", "test"))
    assert tasks["serve"].bodies == ("python -m app",)
    assert tasks["shelled"].bodies == ("cd web && a | b",)
    assert "_" not in tasks


HATCH = """\
[tool.hatch.envs.default.scripts]
test = "pytest {args:tests}"
cov = ["test --cov", "- coverage xml"]

[tool.hatch.envs.lint]
detached = true
[tool.hatch.envs.lint.scripts]
style = ["ruff check {args:.}", "cd {root} && black --check {env:PLACE} {env:MODE:-q}"]
all = ["style", "test"]

[tool.hatch.envs.hatch-test]
default-args = ["tests/unit"]

[tool.hatch.envs.hatch-static-analysis]
config-path = "none"
"""


def test_scripts_of_hatch_are_named_with_their_environment(tasks_of: Tasks) -> None:
    tasks = tasks_of({"pyproject.toml": HATCH})
    assert tasks["test"] == Task("hatch", "test", "pyproject.toml", 2, ".", ("hatch", "run", "test"), ("pytest tests",))
    assert (tasks["cov"].bodies, tasks["cov"].needs) == (("coverage xml",), ("test",))
    assert tasks["lint:style"].argv == ("hatch", "run", "lint:style")
    assert tasks["lint:style"].bodies == ("ruff check .", "cd . && black --check ${PLACE} -q")
    assert tasks["lint:all"].needs == ("lint:style", "test")


def test_commands_of_hatch_itself_are_tasks_where_their_environment_is_configured(tasks_of: Tasks) -> None:
    tasks = tasks_of({"pyproject.toml": HATCH})
    assert (tasks["hatch-test:run"].argv, tasks["hatch-test:run"].bodies) == (
        ("hatch", "test"),
        ("python -m pytest tests/unit",),
    )
    assert tasks["hatch-static-analysis:lint-check"].argv == ("hatch", "fmt", "--check")


def test_hatch_may_keep_its_environments_in_a_file_of_its_own(tasks_of: Tasks) -> None:
    tasks = tasks_of({"hatch.toml": '[envs.default.scripts]\ntest = "pytest"\n'})
    assert (tasks["test"].path, tasks["test"].line) == ("hatch.toml", 2)


@pytest.mark.parametrize(("name", "prefix"), [("pixi.toml", ""), ("pyproject.toml", "tool.pixi.")])
def test_tasks_of_pixi_are_read_from_either_file_and_from_features(tasks_of: Tasks, name: str, prefix: str) -> None:
    text = f"""\
[{prefix}tasks]
build = "cmake --build build"
test = {{ cmd = ["pytest", "tests"], depends-on = ["build", {{ task = "gen" }}], cwd = "py" }}
all = [{{ task = "test" }}]
[{prefix}feature.lint.tasks.lint]
cmd = "ruff check"
description = "Lint"
"""
    tasks = tasks_of({name: text})
    assert tasks["build"] == Task("pixi", "build", name, 2, ".", ("pixi", "run", "build"), ("cmake --build build",))
    assert (tasks["test"].bodies, tasks["test"].needs) == (("cd py && pytest tests",), ("build", "gen"))
    assert tasks["all"].needs == ("test",)
    assert (tasks["lint"].line, tasks["lint"].description) == (5, "Lint")
