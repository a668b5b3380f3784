"""Scenarios of pytest, black, ruff and mypy."""

from __future__ import annotations

from collections.abc import Mapping

from tests.integration.hardening.scenario import Fixed, Left, Scenario
from tests.integration.hardening.scenarios_python import IGNORED

__all__ = ["CHECKS"]

PASSES = "def test_it() -> None:\n    assert 1 + 1 == 2\n"
LOCK = "uv lock -q"


def project(*distributions: str, more: str = "", **files: str) -> Mapping[str, str]:
    """A project of uv with some tools."""
    listed = ", ".join(f'"{one}"' for one in distributions)
    text = f'[project]\nname = "acme"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{listed}]\n'
    return {".gitignore": IGNORED, "pyproject.toml": f"{text}\n[tool.uv]\npackage = false\n{more}", **files}


PYTEST: tuple[Scenario, ...] = (
    Scenario(
        name="pytest/path-elsewhere",
        broken="the directory of tests is named from the wrong place",
        files={**project("pytest==8.3.4"), "backend/tests/unit/test_it.py": PASSES},
        setup=LOCK,
        install=True,
        command=("pytest", "-q", "tests/unit"),
        expected=Fixed(("pytest.path_not_found",), ("run in backend",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/option-of-a-missing-plugin",
        broken="--cov is given, and the declared plugin behind it is not installed",
        files={**project("pytest==8.3.4", "pytest-cov==6.0.0"), "test_it.py": PASSES},
        setup=LOCK,
        install=True,
        breaks="uv pip uninstall -q pytest-cov",
        command=("pytest", "-q", "--cov=."),
        expected=Fixed(("pytest.unknown_option",), ("install pytest-cov as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/fixture-of-a-missing-plugin",
        broken="a test uses mocker, and the declared plugin behind it is not installed",
        files={**project("pytest==8.3.4", "pytest-mock==3.14.0"), "test_it.py": PASSES.replace("()", "(mocker)")},
        setup=LOCK,
        install=True,
        breaks="uv pip uninstall -q pytest-mock",
        command=("pytest", "-q"),
        expected=Fixed(("pytest.fixture_not_found",), ("install pytest-mock as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/asynchronous-test",
        broken="a test is asynchronous, and the declared plugin that runs it is not installed",
        files={
            **project(
                "pytest==9.0.2", "pytest-asyncio==1.3.0", more='[tool.pytest.ini_options]\nasyncio_mode = "auto"\n'
            ),
            "test_it.py": f"async {PASSES}",
        },
        setup=LOCK,
        install=True,
        breaks="uv pip uninstall -q pytest-asyncio",
        command=("pytest", "-q"),
        expected=Fixed(("pytest.async_unsupported",), ("install pytest-asyncio as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/required-plugin-missing",
        broken="the configuration requires a declared plugin that is not installed",
        files={
            **project(
                "pytest==8.3.4",
                "pytest-timeout==2.3.1",
                more='[tool.pytest.ini_options]\nrequired_plugins = "pytest-timeout"\n',
            ),
            "test_it.py": PASSES,
        },
        setup=LOCK,
        install=True,
        breaks="uv pip uninstall -q pytest-timeout",
        command=("pytest", "-q"),
        expected=Fixed(("pytest.plugin_missing",), ("install pytest-timeout as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/own-package-in-src",
        broken="the tests import the project's own package, which is in src and not installed",
        files={
            **project("pytest==8.3.4"),
            "src/acme/__init__.py": "READY = True\n",
            "tests/test_it.py": f"import acme\n\n\n{PASSES.replace('1 + 1 == 2', 'acme.READY')}",
        },
        setup=LOCK,
        install=True,
        command=("pytest", "-q"),
        expected=Fixed(("py.module_not_found_local",), ("run with PYTHONPATH=src",)),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/two-modules-of-one-name",
        broken="two directories without __init__.py have a test module of the same name",
        files={**project("pytest==8.3.4"), "a/test_it.py": PASSES, "b/test_it.py": PASSES},
        setup=LOCK,
        install=True,
        command=("pytest", "-q"),
        expected=Fixed(("pytest.import_mismatch",), ("pytest -q --import-mode=importlib",), consent=True),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/no-tests-here",
        broken="pytest runs where no tests are",
        files={**project("pytest==8.3.4"), "tests/test_it.py": PASSES, "docs/index.md": "# Acme\n"},
        setup=LOCK,
        install=True,
        command=("pytest", "-q"),
        cwd="docs",
        via="applier",
        expected=Fixed(("pytest.no_tests_collected",), ("run in .",), consent=True),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/failing-test",
        broken="a test fails",
        files={**project("pytest==8.3.4"), "test_it.py": PASSES.replace("== 2", "== 3")},
        setup=LOCK,
        install=True,
        command=("pytest", "-q"),
        expected=Left("pytest.test_failed", "test"),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/coverage-threshold",
        broken="the tests cover less than the project asks for",
        files={
            **project("pytest==8.3.4", "pytest-cov==6.0.0"),
            "acme.py": "def double(number: int) -> int:\n    return 2 * number\n",
            "test_it.py": f"import acme\n\n\n{PASSES.replace('1 + 1 == 2', 'acme')}",
        },
        setup=LOCK,
        install=True,
        command=("pytest", "-q", "--cov=acme", "--cov-fail-under=90"),
        via="applier",
        expected=Left("pytest.coverage_threshold", "threshold"),
        needs=("uv",),
    ),
    Scenario(
        name="pytest/option-of-an-undeclared-plugin",
        broken="--reruns is given, and nothing declares the plugin behind it",
        files={**project("pytest==8.3.4"), "test_it.py": PASSES},
        setup=LOCK,
        install=True,
        command=("pytest", "-q", "--reruns", "2"),
        via="applier",
        expected=Left("pytest.unknown_option", "--reruns"),
        needs=("uv",),
    ),
)

UNTIDY = "x = {  'a':1 }\n"

STYLE: tuple[Scenario, ...] = (
    Scenario(
        name="black/unformatted",
        broken="the agent wrote a file that black would write otherwise",
        files={**project("black==24.10.0"), "app.py": "x = 1\n"},
        setup=LOCK,
        install=True,
        breaks=f'echo "{UNTIDY.strip()}" > app.py',
        command=("black", "--check", "app.py"),
        expected=Fixed(("fmt.black",), ("run formatter: black -q app.py",)),
        needs=("uv",),
    ),
    Scenario(
        name="black/cannot-parse",
        broken="black is given a file that is no Python",
        files={**project("black==24.10.0"), "app.py": "def broken(:\n"},
        setup=LOCK,
        install=True,
        command=("black", "--check", "app.py"),
        via="applier",
        expected=Left("fmt.black_cannot_parse", "app.py"),
        needs=("uv",),
    ),
    Scenario(
        name="ruff/unformatted",
        broken="the agent wrote a file that ruff would format otherwise",
        files={**project("ruff==0.8.4"), "app.py": "x = 1\n"},
        setup=LOCK,
        install=True,
        breaks=f'echo "{UNTIDY.strip()}" > app.py',
        command=("ruff", "format", "--check", "."),
        expected=Fixed(("fmt.ruff",), ("run formatter: ruff format",)),
        needs=("uv",),
    ),
    Scenario(
        name="ruff/unused-import",
        broken="the agent left an import that nothing uses, which ruff can remove",
        files={**project("ruff==0.8.4"), "app.py": "x = 1\n"},
        setup=LOCK,
        install=True,
        breaks='echo "import os" >> app.py',
        command=("ruff", "check", "."),
        expected=Fixed(("lint.ruff",), ("run formatter: ruff check --fix",)),
        needs=("uv",),
    ),
    Scenario(
        name="ruff/undefined-name",
        broken="a name is used that nothing defines",
        files={**project("ruff==0.8.4"), "app.py": "print(undefined)\n"},
        setup=LOCK,
        install=True,
        command=("ruff", "check", "."),
        via="applier",
        expected=Left("lint.ruff", "by hand"),
        needs=("uv",),
    ),
    Scenario(
        name="mypy/type-error",
        broken="a text is returned where a number is promised",
        files={**project("mypy==1.14.0"), "app.py": 'def one() -> int:\n    return "1"\n'},
        setup=LOCK,
        install=True,
        command=("mypy", "app.py"),
        via="applier",
        expected=Left("lint.mypy", "Correct the types"),
        needs=("uv",),
    ),
)

CHECKS: tuple[Scenario, ...] = (*PYTEST, *STYLE)
