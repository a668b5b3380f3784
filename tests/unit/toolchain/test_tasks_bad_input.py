"""Task files that are broken, hostile or not sent: bounded work, a warning, no error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain import SnapshotFile, SnapshotTree
from autopack_toolchain.core.registry import default_registry
from autopack_toolchain.core.tasks import Task, read_tasks
from autopack_toolchain.core.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st

Tasks = Callable[..., dict[str, Task]]

NAMES = [
    *("Makefile", "package.json", "justfile", "Taskfile.yml", "mise.toml", "pyproject.toml", "poe_tasks.toml"),
    *("tox.ini", "tox.toml", "setup.cfg", "noxfile.py", "tasks.py", "hatch.toml", "pixi.toml", "composer.json"),
    *("deno.jsonc", "Rakefile", "mix.exs", "magefile.go", ".cargo/config.toml", "scripts/test", ".mise/tasks/x"),
]

PIECES = [
    *("\n", "\t", " ", ":", "=", "(", ")", "{", "}", "{{", "}}", "$(", "${", "[", "]", '"', "'", "\\", "#", "@", "|"),
    *(
        "test",
        "ifeq",
        "else",
        "endif",
        "define",
        "include",
        "task",
        "namespace",
        "do",
        "end",
        "import",
        "mod",
        ".",
        ",",
    ),
    *(
        "[tox]\n",
        "[testenv]\n",
        "commands",
        "[tool.poe.tasks]\n",
        "a = 1\n",
        "tasks:\n",
        "cmds: x\n",
        '{"scripts":',
        "%",
    ),
    *("@nox.session\n", "def f(s):\n  s.run('x')\n", "func A() error {\n", "sh.Run(", "aliases: [", "#!/bin/sh\n"),
]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.one_of(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.text()),
        max_size=3,
    )
)
def test_no_content_makes_reading_raise(files: dict[str, str]) -> None:
    tree = SnapshotTree([SnapshotFile(path, 0, 0o100755, text.encode()) for path, text in files.items()])
    tasks = read_tasks(Workspace(tree, default_registry()), ["."])
    assert all(task.argv and all(task.bodies) and task.name not in task.needs for task in tasks)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("package.json", '{"scripts": {'),
        ("Taskfile.yml", "tasks: ["),
        ("mise.toml", "[tasks"),
        ("pyproject.toml", "[tool.poe"),
        ("tox.ini", "envlist = a\n"),
        ("noxfile.py", "def ("),
        ("deno.jsonc", "{ /"),
        ("composer.json", "{"),
        (".cargo/config.toml", "[alias"),
        ("pyproject.toml", '[tool.tox]\nlegacy_tox_ini = "x"\n'),
    ],
)
def test_a_broken_file_is_a_warning_and_gives_no_task(
    workspace_of: Callable[..., Workspace], path: str, content: str
) -> None:
    workspace = workspace_of({path: content})
    assert read_tasks(workspace, ["."]) == []
    assert [(warning.reason, warning.paths) for warning in workspace.warnings] == [("BROKEN_MANIFEST", (path,))]


SESSIONS = "@nox.session\ndef a(s):\n" + "    b(s)\n" * 20_000 + "def b(s):\n" + "    a(s)\n" * 20_000
DOUBLING = "".join(f"A{n} = $(A{n + 1})$(A{n + 1})\n" for n in range(60)) + "A60 = xxxxxxxxxx\ntest:\n\techo $(A0)\n"
DOUBLING_NOW = "A := xxxxxxxxxx\n" + "A := $(A)$(A)\n" * 60 + "test:\n\techo $(A)\n"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("Makefile", DOUBLING),
        ("Makefile", DOUBLING_NOW),
        ("Makefile", "X = " + "y" * 100_000 + "\ntest:\n\t" + "$(X)" * 100_000 + "\n"),
        ("Makefile", "X = " + "y" * 100_000 + "\ntest:\n\t" + "$X" * 100_000 + "\n"),
        ("Makefile", "test:\n\t" + "$(" * 400_000 + "\n"),
        ("Makefile", "test:\n\t" + "$(a " * 100_000 + ")" * 100_000 + "\n"),
        ("Makefile", "A = x\n" + "A += y\n" * 100_000 + "test:\n\techo $(A)\n"),
        ("Makefile", "include *.mk\n" * 50_000 + "test:\n\tx\n"),
        ("Makefile", "".join(f"t{n}: t{n + 1}\n\tx\n" for n in range(50_000))),
        ("justfile", "a := 'xxxxxxxxxx'\n" + "a := a + a\n" * 1_000 + "test:\n    echo {{a}}\n"),
        ("justfile", "a := " + "'x' + " * 100_000 + "'x'\ntest:\n    " + "{{a}}" * 100_000 + "\n"),
        ("justfile", "test: " + "(" * 400_000 + "\n    x\n"),
        ("tox.ini", "[tox]\nenvlist = " + "{a,b}" * 1_000 + "\n[testenv]\ncommands = x\n"),
        (
            "tox.ini",
            "[tox]\nenvlist = py{1,2,3,4,5,6,7,8,9}{1,2,3,4,5,6,7,8,9}{1,2,3,4,5,6,7,8,9}\n[testenv]\ncommands = "
            + "{[testenv]commands}" * 5_000
            + "\n",
        ),
        ("mix.exs", "defp aliases do\n  [\n    test: [" + '\\"' * 400_000 + "\n"),
        ("magefile.go", "func Test() error {\n\tsh.Run(" + '\\"' * 400_000 + ")\n}\n"),
        ("Rakefile", "Task" * 200_000 + ".new\n"),
        (
            "noxfile.py",
            "import nox\n@nox.session\ndef a(s):\n" + "    b(s)\n" * 20_000 + "def b(s):\n" + "    a(s)\n" * 20_000,
        ),
        ("pyproject.toml", "[tool.poe.tasks]\n" + "\n".join(f"a{n} = 'x'" for n in range(20_000)) + "\n" * 100_000),
        (
            "Taskfile.yml",
            "vars:\n  A0: xxxxxxxxxx\n" + "".join(f"  A{n + 1}: '{{{{.A{n}}}}}{{{{.A{n}}}}}'\n" for n in range(99)),
        ),
    ],
)
def test_work_is_bounded_whatever_a_file_says(tasks_of: Tasks, path: str, content: str) -> None:
    tasks = tasks_of({path: content})
    assert len(tasks) <= 501
    assert sum(len(body) for task in tasks.values() for body in task.bodies) <= 9 << 20


def test_a_file_that_another_one_names_is_read_only_if_a_snapshot_carries_it(tasks_of: Tasks) -> None:
    files = {"Makefile": "include secrets.txt\ntest:\n\tx\n", "secrets.txt": "leak:\n\ty\n"}
    assert set(tasks_of(files)) == {"", "test"}


def test_a_script_whose_content_was_not_sent_is_a_task_without_lines_and_a_warning() -> None:
    tree = SnapshotTree([SnapshotFile("scripts/test.sh", 100, 0o100755, None)])
    workspace = Workspace(tree, default_registry())
    assert [task.bodies for task in read_tasks(workspace, [])] == [()]
    assert [warning.reason for warning in workspace.warnings] == ["MANIFEST_NOT_READ"]


def test_tasks_are_read_once_for_each_directory(workspace_of: Callable[..., Workspace]) -> None:
    workspace = workspace_of({"Makefile": "test:\n\tx\n", "a/Makefile": "test:\n\tx\n"})
    first = read_tasks(workspace, ["a"])
    again = read_tasks(workspace, ["a", "."])
    assert [task.directory for task in first if task.name] == [".", "a"]
    assert all(one is other for one, other in zip(first, again, strict=True))
