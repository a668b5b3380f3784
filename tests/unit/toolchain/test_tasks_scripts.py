"""Scripts that a repository keeps for its own people."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain.core.tasks import Task, script_task
from autopack_toolchain.core.workspace import Workspace

Tasks = Callable[..., dict[str, Task]]

SHELL = "#!/bin/sh -e\npytest\n"


def test_an_executable_script_is_called_by_its_path_and_its_text_is_its_body(tasks_of: Tasks) -> None:
    tasks = tasks_of({"scripts/test": SHELL}, executable=frozenset({"scripts/test"}))
    assert tasks["scripts/test"] == Task(
        "script", "scripts/test", "scripts/test", 0, ".", ("scripts/test",), (SHELL.strip(),)
    )


def test_a_script_that_is_not_executable_is_called_by_its_interpreter(tasks_of: Tasks) -> None:
    tasks = tasks_of({"ci/run.sh": "pytest\n", "run_tests.py": "x", "tools/lint.js": "x"})
    assert tasks["ci/run.sh"].argv == ("bash", "ci/run.sh")
    assert tasks["run_tests.py"].argv == ("python", "run_tests.py")
    assert tasks["tools/lint.js"].argv == ("node", "tools/lint.js")
    assert tasks["tools/lint.js"].bodies == ()


def test_a_script_at_the_root_is_called_with_a_dot(tasks_of: Tasks) -> None:
    tasks = tasks_of({"test.sh": SHELL, "run-tests": SHELL}, executable=frozenset({"test.sh", "run-tests"}))
    assert tasks["test.sh"].argv == ("./test.sh",)
    assert tasks["run-tests"].bodies == (SHELL.strip(),)


def test_a_script_in_another_language_has_no_shell_lines(tasks_of: Tasks) -> None:
    files = {"scripts/test": "#!/usr/bin/env python3\nprint()\n", "scripts/x.sh": "#!/usr/bin/perl\n"}
    assert {name: task.bodies for name, task in tasks_of(files).items()} == {"scripts/test": (), "scripts/x.sh": ()}


def test_files_that_are_no_scripts_are_left_out(tasks_of: Tasks) -> None:
    files = {
        "setup.py": "",
        "test.py": "",
        "tests.py": "",
        "test_a.py": "",
        "scripts/test_a.py": "",
        "scripts/helper.py": "",
        "scripts/data.json": "",
        "scripts/NOTES": "words",
        "scripts/.util": SHELL,
        "main.sh": SHELL,
        "_.py": "",
        "lib/test.sh": SHELL,
    }
    assert tasks_of(files) == {}


def test_a_long_script_is_cut_after_a_whole_line(tasks_of: Tasks) -> None:
    body = tasks_of({"test.sh": "pytest\n" * 10_000})["test.sh"].bodies[0]
    assert len(body) <= 16_384
    assert body.endswith("pytest")


def test_any_script_of_the_tree_can_be_followed(workspace_of: Callable[..., Workspace]) -> None:
    workspace = workspace_of({"deep/down/go.sh": SHELL})
    task = script_task(workspace, "deep/down/go.sh")
    assert task is not None
    assert task.bodies == (SHELL.strip(),)
    assert script_task(workspace, "deep/gone.sh") is None
