"""Environments of tox."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

INI = """\
[tox]
envlist = py{310,311}-{sql,nosql}, lint
    docs

[testenv]
description = run the tests
commands_pre = pip check
commands =
    # a comment
    sql: createdb
    !sql: -echo none
    py310,py311: {envpython} -m pytest {posargs:tests} \\
        --cov {toxinidir}/src
    {envbindir}/coverage report --env {envname} {env:FORMAT:text} {env:HOME}

[testenv:lint]
commands_pre =
commands = ruff check . {posargs}
    {[base]mypy}

[base]
mypy = mypy {[base]target}
target = src

[testenv:docs]
base = lint
changedir = docs
commands = sphinx-build . out
"""


def test_environments_are_written_out_with_the_lines_of_their_factors(tasks_of: Tasks) -> None:
    tasks = tasks_of({"tox.ini": INI})
    assert tasks["py310-sql"] == Task(
        "tox",
        "py310-sql",
        "tox.ini",
        5,
        ".",
        ("tox", "-e", "py310-sql"),
        (
            "pip check",
            "createdb",
            "python -m pytest tests --cov ./src",
            "coverage report --env py310-sql text ${HOME}",
        ),
        description="run the tests",
    )
    assert tasks["py311-nosql"].bodies[1] == "echo none"


def test_an_environment_takes_what_it_does_not_set_from_those_it_builds_on(tasks_of: Tasks) -> None:
    tasks = tasks_of({"tox.ini": INI})
    assert (tasks["lint"].line, tasks["lint"].bodies) == (16, ("ruff check .", "mypy src"))
    assert tasks["docs"].bodies == ("cd docs && sphinx-build . out",)
    assert tasks["docs"].description == "run the tests"


def test_tox_alone_runs_the_listed_environments(tasks_of: Tasks) -> None:
    plain = tasks_of({"tox.ini": INI})[""]
    assert plain.argv == ("tox",)
    assert plain.needs == ("py310-sql", "py310-nosql", "py311-sql", "py311-nosql", "lint", "docs")


def test_without_a_list_the_environment_py_is_there(tasks_of: Tasks) -> None:
    tasks = tasks_of({"tox.ini": "[testenv]\ncommands = pytest\n[testenv:{a,b}-x]\ncommands = y\n"})
    assert set(tasks) == {"", "py", "a-x", "b-x"}
    assert (tasks["py"].bodies, tasks[""].needs) == (("pytest",), ("py",))


def test_settings_that_name_each_other_end(tasks_of: Tasks) -> None:
    text = (
        "[tox]\nenvlist = a\n[testenv]\ncommands = x {[testenv]commands} {[testenv]deps}\ndeps = {[testenv]commands}\n"
    )
    assert tasks_of({"tox.ini": text})["a"].bodies[0].startswith("x")


def test_setup_cfg_is_read_where_there_is_no_tox_ini(tasks_of: Tasks) -> None:
    cfg = "[metadata]\nname = a\n[tox:tox]\nenvlist = py\n[testenv]\ncommands = pytest\n"
    assert tasks_of({"setup.cfg": cfg})["py"].path == "setup.cfg"
    both = tasks_of({"setup.cfg": cfg, "tox.ini": "[tox]\nenvlist = lint\n[testenv]\ncommands = ruff\n"})
    assert {task.path for task in both.values()} == {"tox.ini"}


def test_a_setup_cfg_without_tox_gives_no_task(tasks_of: Tasks) -> None:
    assert tasks_of({"setup.cfg": "[metadata]\nname = a\n"}) == {}


def test_an_ini_text_within_pyproject_is_read(tasks_of: Tasks) -> None:
    text = '[tool.tox]\nlegacy_tox_ini = """\n[tox]\nenvlist = py\n[testenv]\ncommands =\n    pytest\n    mypy\n"""\n'
    tasks = tasks_of({"pyproject.toml": text})
    assert (tasks["py"].bodies, tasks["py"].line) == (("pytest", "mypy"), 5)


@pytest.mark.parametrize(("name", "prefix"), [("tox.toml", ""), ("pyproject.toml", "tool.tox.")])
def test_environments_in_toml_are_lists_of_words(tasks_of: Tasks, name: str, prefix: str) -> None:
    table = "[tool.tox]\n" if prefix else ""
    text = f"""{table}env_list = ["py3.{{12,13}}", "lint", {{ product = [["a", "b"], ["x"]] }}]
[{prefix}env_run_base]
description = "tests"
commands = [["pytest", "--base={{env_tmp_dir}}", {{ replace = "posargs", default = ["tests a"], extend = true }}]]
[{prefix}env.lint]
commands = [["ruff", "check", "{{tox_root}}"], ["mypy", {{ replace = "ref", of = ["x"] }}]]
[{prefix}env."docs"]
change_dir = "docs"
commands = [["make", "html"]]
"""
    tasks = tasks_of({name: text})
    assert tasks[""].needs == ("py3.12", "py3.13", "lint", "a-x", "b-x")
    assert tasks["py3.12"].bodies == ("pytest --base=${_} 'tests a'",)
    assert tasks["lint"].bodies == ("ruff check .", "mypy ${_}")
    assert tasks["lint"].line == text.split("\n").index(f"[{prefix}env.lint]") + 1
    assert (tasks["docs"].bodies, tasks["docs"].argv) == (("cd docs && make html",), ("tox", "-e", "docs"))
