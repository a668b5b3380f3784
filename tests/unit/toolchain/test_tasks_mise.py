"""Tasks of mise."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

CONFIGURATION = """\
[tools]
go = "1.26"

[tasks]
lint = "golangci-lint run"
format = ["gofmt -l .", "prettier --check ."]

[tasks.test]
description = "Run the tests"
depends = ["build", "lint --fast"]
run = "go test ./..."

[tasks."test:web"]
dir = "{{config_root}}/web"
run = ["npm ci", { task = "test" }, "npm test {{arg(name='x')}}"]

[tasks.build]
file = "scripts/build.sh"
"""


def test_tasks_are_strings_lists_and_tables(tasks_of: Tasks) -> None:
    tasks = tasks_of({"mise.toml": CONFIGURATION}, tool="mise")
    assert tasks["lint"] == Task("mise", "lint", "mise.toml", 5, ".", ("mise", "run", "lint"), ("golangci-lint run",))
    assert tasks["format"].bodies == ("gofmt -l .", "prettier --check .")
    assert tasks["test"].needs == ("build", "lint")
    assert (tasks["test"].line, tasks["test"].description) == (8, "Run the tests")
    assert tasks["test:web"].bodies == ("cd ./web && npm ci", "cd ./web && npm test")
    assert (tasks["test:web"].line, tasks["test:web"].needs) == (13, ("test",))
    assert tasks["build"].bodies == ("./scripts/build.sh",)


def test_a_task_of_several_lines_is_one_script(tasks_of: Tasks) -> None:
    tasks = tasks_of({".mise.toml": "[tasks.test]\nrun = '''\nset -e\npytest\n'''\n"})
    assert tasks["test"].bodies == ("set -e\npytest",)


def test_files_in_the_task_directory_are_tasks(tasks_of: Tasks) -> None:
    files = {
        ".mise/tasks/test/unit": '#!/usr/bin/env bash\n#MISE description="Unit"\n#MISE depends=["build"]\npytest\n',
        ".mise/tasks/test/_default": "#!/bin/sh\npytest\n",
        ".mise/tasks/build.py": "#!/usr/bin/env python3\nprint()\n",
        ".mise/tasks/notes.md": "# no task\n",
    }
    tasks = tasks_of(files)
    assert set(tasks) == {"test:unit", "test", "build"}
    assert (tasks["test:unit"].needs, tasks["test:unit"].description) == (("build",), "Unit")
    assert tasks["test:unit"].bodies[0].endswith("pytest")
    assert tasks["build"].bodies == ()


def test_tasks_of_included_files_and_directories_are_found(tasks_of: Tasks) -> None:
    files = {
        "mise.toml": '[task_config]\nincludes = ["tasks.toml", "xtasks"]\n',
        "tasks.toml": '[test]\nrun = "cargo test"\n',
        "xtasks/lint": "#!/bin/sh\ncargo clippy\n",
    }
    tasks = tasks_of(files, executable=frozenset({"xtasks/lint"}))
    assert (tasks["test"].path, tasks["test"].line, tasks["test"].bodies) == ("tasks.toml", 1, ("cargo test",))
    assert tasks["lint"].bodies == ()  # a snapshot does not carry the content of such a file
