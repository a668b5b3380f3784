"""Recipes of justfiles."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

JUSTFILE = """\
set shell := ["bash", "-c"]
python := "python3"
flags := "-v " + env("PYTEST_FLAGS", "-x")
export RUST_LOG := "debug"

alias t := test

# Run the tests
[group('checks')]
test *args: build (lint "all") && report
    @{{python}} -m pytest {{flags}} {{args}}
    -coverage report

build profile='release' target=profile:
    cargo build --profile {{profile}} --bin {{ target }}

lint what:
    ruff check {{what}} {{ what }} \\
      --fix

[private]
@report:
    echo done
"""


def test_a_recipe_carries_its_call_its_lines_and_the_recipes_around_it(tasks_of: Tasks) -> None:
    tasks = tasks_of({"justfile": JUSTFILE})
    assert tasks["test"] == Task(
        "just",
        "test",
        "justfile",
        10,
        ".",
        ("just", "test"),
        ("python3 -m pytest -v -x", "coverage report"),
        ("build", "lint", "report"),
        "Run the tests",
    )


def test_just_alone_runs_the_first_recipe(tasks_of: Tasks) -> None:
    assert tasks_of({"justfile": JUSTFILE})[""].needs == ("test",)


def test_an_alias_needs_its_recipe(tasks_of: Tasks) -> None:
    assert tasks_of({"justfile": JUSTFILE})["t"].needs == ("test",)


def test_parameters_stand_with_their_defaults_and_the_others_are_required(tasks_of: Tasks) -> None:
    tasks = tasks_of({"justfile": JUSTFILE})
    assert tasks["build"].bodies == ("cargo build --profile release --bin ${_}",)
    assert tasks["build"].required == ()
    assert tasks["lint"].bodies == ("ruff check ${what} ${what} --fix",)
    assert tasks["lint"].required == ("what",)


def test_a_recipe_with_a_shebang_is_one_script_if_it_is_a_shell(tasks_of: Tasks) -> None:
    text = "a:\n    #!/usr/bin/env bash\n    set -e\n    pytest\nb:\n    #!/usr/bin/env python3\n    print('pytest')\n"
    tasks = tasks_of({"justfile": text})
    assert len(tasks["a"].bodies) == 1
    assert "pytest" in tasks["a"].bodies[0].split("\n")[-1]
    assert tasks["b"].bodies == ()


def test_recipes_of_modules_are_named_with_them_and_run_in_their_directory(tasks_of: Tasks) -> None:
    files = {
        "justfile": "mod rust\nmod web 'apps/web'\ntest: rust::test\n",
        "rust/mod.just": "test: build\n    cargo test\nbuild:\n    cargo build\n",
        "apps/web/justfile": "lint:\n    eslint .\n",
    }
    tasks = tasks_of(files)
    assert tasks["test"].needs == ("rust::test",)
    assert tasks["rust::test"].bodies == ("cd rust && cargo test",)
    assert tasks["rust::test"].needs == ("rust::build",)
    assert tasks["rust::test"].argv == ("just", "rust::test")
    assert (tasks["web::lint"].path, tasks["web::lint"].line) == ("apps/web/justfile", 1)


def test_imported_recipes_are_the_files_own(tasks_of: Tasks) -> None:
    imported = "go := 'go'\ntest:\n    {{go}} test\n"
    files = {"justfile": "import 'ci/go.just'\nimport? 'gone.just'\n", "ci/go.just": imported}
    task = tasks_of(files)["test"]
    assert (task.path, task.bodies) == ("ci/go.just", ("go test",))


def test_files_that_import_each_other_end(tasks_of: Tasks) -> None:
    files = {"justfile": "import 'a.just'\nx:\n    y\n", "a.just": "import 'justfile'\nmod justfile\nz:\n    y\n"}
    assert {"x", "z"} <= set(tasks_of(files))


def test_of_variants_by_system_that_of_linux_holds(tasks_of: Tasks) -> None:
    text = "[linux]\nopen:\n    xdg-open .\n[macos]\nopen:\n    open .\n"
    assert tasks_of({"justfile": text})["open"].bodies == ("xdg-open .",)


def test_a_recipe_with_a_directory_of_its_own_runs_there(tasks_of: Tasks) -> None:
    text = "[working-directory: 'web']\ntest:\n    npm test\n"
    assert tasks_of({"justfile": text})["test"].bodies == ("cd web && npm test",)


@pytest.mark.parametrize("name", ["justfile", ".justfile", "Justfile"])
def test_a_justfile_is_found_by_each_of_its_names(tasks_of: Tasks, name: str) -> None:
    assert tasks_of({name: "a:\n    b\n"})["a"].path == name
