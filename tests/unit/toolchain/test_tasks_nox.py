"""Sessions of nox and tasks of invoke, read from Python files that are never run."""

from __future__ import annotations

from collections.abc import Callable

from autopack_toolchain.core.tasks import Task

Tasks = Callable[..., dict[str, Task]]

NOX = '''\
import nox
from nox import session

nox.options.sessions = ["tests", "type-check"]
ARGS = ["-v", "--tb=short"]
PACKAGE: str = "app"


def run_tests(session, extra):
    session.run("pytest", *ARGS, f"--cov={extra}", "tests dir", *session.posargs)


@nox.session(python=["3.11", "3.12"])
@nox.parametrize("django", ["4", "5"])
def tests(session, django):
    """Run the tests.

    More of it.
    """
    session.install(".")
    if session.posargs:
        session.run("coverage", "erase", env={"X": "a b"})
    run_tests(session, "x")
    session.notify("report")


@session(name="type-check", requires=["tests"])
def types(s):
    s.run_always("mypy", "-p", PACKAGE)


@nox.session(default=False)
def report(session):
    session.chdir("docs")
    session.run("coverage", "report")
    helper("not a session")


def helper(name):
    raise RuntimeError(name)
'''


def test_a_session_runs_its_literal_arguments_and_those_of_functions_it_calls(tasks_of: Tasks) -> None:
    tasks = tasks_of({"noxfile.py": NOX})
    assert tasks["tests"] == Task(
        "nox",
        "tests",
        "noxfile.py",
        15,
        ".",
        ("nox", "-s", "tests"),
        ("X='a b' coverage erase", "pytest -v --tb=short ${_} 'tests dir'"),
        ("report",),
        "Run the tests.",
    )
    assert set(tasks) == {"", "tests", "type-check", "report"}


def test_a_session_may_have_another_name_and_require_others(tasks_of: Tasks) -> None:
    task = tasks_of({"noxfile.py": NOX})["type-check"]
    assert (task.bodies, task.needs) == (("mypy -p app",), ("tests",))


def test_a_session_that_changes_the_directory_runs_there(tasks_of: Tasks) -> None:
    assert tasks_of({"noxfile.py": NOX})["report"].bodies == ("cd docs && coverage report",)


def test_nox_alone_runs_the_sessions_of_its_options_or_else_the_default_ones(tasks_of: Tasks) -> None:
    assert tasks_of({"noxfile.py": NOX})[""].needs == ("tests", "type-check")
    without = NOX.replace('nox.options.sessions = ["tests", "type-check"]\n', "")
    assert tasks_of({"noxfile.py": without})[""].needs == ("tests", "type-check")


def test_functions_that_call_each_other_end(tasks_of: Tasks) -> None:
    text = "import nox\n@nox.session\ndef a(s):\n    s.run('x')\n    b(s)\n    b(s)\ndef b(s):\n    a(s)\n    a(s)\n"
    assert tasks_of({"noxfile.py": text})["a"].bodies[0] == "x"


INVOKE = '''\
from invoke import task


@task
def build_all(c):
    c.run("python -m build")


@task(build_all, post=[build_all], default=True)
def test(c, fast=False):
    """Run the tests."""
    c.run(f"pytest {fast} tests")
    with c.cd("docs"):
        c.run("make html")


@task(name="release")
def release_it(c, version, dry=True):
    c.run(version)


def helper():
    pass
'''


def test_tasks_of_invoke_run_the_texts_they_are_given(tasks_of: Tasks) -> None:
    tasks = tasks_of({"tasks.py": INVOKE})
    assert tasks["test"] == Task(
        "invoke",
        "test",
        "tasks.py",
        10,
        ".",
        ("invoke", "test"),
        ("pytest ${_} tests", "make html"),
        ("build-all",),
        "Run the tests.",
    )
    assert tasks["build-all"].argv == ("invoke", "build-all")
    assert tasks["release"].required == ("version",)
    assert tasks[""].needs == ("test",)


def test_a_module_that_only_has_the_name_of_invokes_file_gives_no_task(tasks_of: Tasks) -> None:
    assert tasks_of({"tasks.py": "from celery import task\n@task\ndef a():\n    pass\n"}) == {}
