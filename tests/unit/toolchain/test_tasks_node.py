"""Scripts of package.json and tasks of deno.json."""

from __future__ import annotations

import json
from collections.abc import Callable

from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]


def test_a_script_is_called_by_its_name_and_runs_its_text(tasks_of: Tasks) -> None:
    text = '{\n  "name": "a",\n  "scripts": {\n    "test": "vitest run",\n    "test:ci": "npm run test -- --ci"\n  }\n}'
    tasks = tasks_of({"package.json": text})
    assert tasks["test"] == Task("npm-script", "test", "package.json", 4, ".", ("run", "test"), ("vitest run",))
    assert (tasks["test:ci"].line, tasks["test:ci"].bodies) == (5, ("npm run test -- --ci",))


def test_scripts_that_run_before_and_after_another_are_its_needs(tasks_of: Tasks) -> None:
    scripts = {"pretest": "tsc", "test": "mocha", "posttest": "eslint ."}
    assert tasks_of({"package.json": json.dumps({"scripts": scripts})})["test"].needs == ("pretest", "posttest")


def test_a_script_behind_wireit_runs_the_command_of_its_table(tasks_of: Tasks) -> None:
    package = {
        "scripts": {"build": "wireit", "test": "wireit"},
        "wireit": {"test": {"command": "node --test", "dependencies": ["build", {"script": "x"}, "../b:build"]}},
    }
    tasks = tasks_of({"package.json": json.dumps(package)})
    assert (tasks["test"].bodies, tasks["test"].needs) == (("node --test",), ("build",))
    assert tasks["build"].bodies == ()


def test_entries_that_are_no_scripts_are_left_out(tasks_of: Tasks) -> None:
    assert set(tasks_of({"package.json": '{"scripts": {"a": 1, "b": null, "c": "x"}}'})) == {"c"}
    assert tasks_of({"package.json": '{"scripts": ["a"]}'}) == {}


def test_tasks_of_deno_are_read_with_comments_and_dependencies(tasks_of: Tasks) -> None:
    text = """{
  // how we test
  "tasks": {
    "test": "deno test -A",
    "ci": {"command": "deno lint", "dependencies": ["test"], "description": "All of it"},
  },
}"""
    tasks = tasks_of({"deno.jsonc": text})
    assert tasks["test"] == Task("deno", "test", "deno.jsonc", 4, ".", ("deno", "task", "test"), ("deno test -A",))
    assert (tasks["ci"].needs, tasks["ci"].description) == (("test",), "All of it")
