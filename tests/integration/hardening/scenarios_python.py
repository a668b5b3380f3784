"""Scenarios of pip, Python itself, poetry and uv."""

from __future__ import annotations

from tests.integration.hardening.scenario import Fixed, Left, Scenario

__all__ = ["IGNORED", "PYTHON", "UNITTEST", "importing"]

IGNORED = ".venv/\n__pycache__/\n*.egg-info/\n.pytest_cache/\n.ruff_cache/\n.mypy_cache/\n.coverage\n"
UNITTEST = ("python", "-m", "unittest")


def importing(module: str) -> str:
    """A test that passes when the module can be imported."""
    return (
        f"import unittest\n\nimport {module}\n\n\n"
        f"class Test(unittest.TestCase):\n    def test(self):\n        assert {module}\n"
    )


PIP_INSTALL = ("python", "-m", "pip", "install", "--quiet")

PIP: tuple[Scenario, ...] = (
    Scenario(
        name="pip/declared-package-missing",
        broken="a distribution that requirements.txt declares is not installed; its import name is another",
        files={".gitignore": IGNORED, "requirements.txt": "PyYAML==6.0.2\n", "test_app.py": importing("yaml")},
        command=UNITTEST,
        expected=Fixed(("py.module_not_found",), ("install PyYAML as requirements.txt declares",)),
    ),
    Scenario(
        name="pip/requirements-elsewhere",
        broken="the requirements file is in another directory",
        files={
            ".gitignore": IGNORED,
            "requirements.txt": "packaging==24.2\n",
            "backend/requirements-dev.txt": "packaging==24.2\n",
        },
        command=(*PIP_INSTALL, "-r", "requirements-dev.txt"),
        expected=Fixed(("pip.requirements_missing",), ("run in backend",)),
    ),
    Scenario(
        name="pip/project-elsewhere",
        broken="pip installs the project from the directory above it",
        files={
            ".gitignore": IGNORED,
            "requirements.txt": "packaging==24.2\n",
            "backend/pyproject.toml": '[project]\nname = "acme"\nversion = "1"\ndescription = "A project"\n\n'
            '[build-system]\nrequires = ["flit_core==3.12.0"]\nbuild-backend = "flit_core.buildapi"\n',
            "backend/acme.py": '"""Nothing."""\n',
        },
        command=(*PIP_INSTALL, "--no-deps", "-e", "."),
        expected=Fixed(("pip.not_a_project",), ("run in backend",)),
    ),
    Scenario(
        name="pip/pip-missing",
        broken="the environment has no pip",
        files={".gitignore": IGNORED, "requirements.txt": "packaging==24.2\n"},
        breaks="rm -r .venv/lib/python*/site-packages/pip*",
        command=(*PIP_INSTALL, "-r", "requirements.txt"),
        expected=Fixed(("pip.no_pip",), ("python -m ensurepip",)),
    ),
    Scenario(
        name="pip/undeclared-package",
        broken="a module is imported that nothing declares, although an index has a distribution of that name",
        files={".gitignore": IGNORED, "requirements.txt": "PyYAML==6.0.2\n", "test_app.py": importing("attrs")},
        command=UNITTEST,
        expected=Left("py.module_not_found", "'attrs'"),
    ),
    Scenario(
        name="pip/declared-by-the-run",
        broken="the agent imports a module, and declares it itself",
        files={".gitignore": IGNORED, "requirements.txt": "packaging==24.2\n", "test_app.py": importing("os")},
        breaks="sed -i s/os/attr/ test_app.py; echo attrs==24.3.0 >> requirements.txt",
        command=UNITTEST,
        via="applier",
        expected=Left("py.module_not_found", "attrs in requirements.txt", consent_helps=True),
    ),
    Scenario(
        name="pip/hash-mismatch",
        broken="the archive is not the one whose hash was reviewed",
        files={".gitignore": IGNORED, "requirements.txt": f"packaging==24.2 --hash=sha256:{'0' * 64}\n"},
        command=(*PIP_INSTALL, "--require-hashes", "-r", "requirements.txt"),
        via="applier",
        expected=Left("pip.hash_mismatch", "hash"),
    ),
    Scenario(
        name="pip/no-such-version",
        broken="the pinned version does not exist",
        files={".gitignore": IGNORED, "requirements.txt": "packaging==0.0.1.dev99\n"},
        command=(*PIP_INSTALL, "-r", "requirements.txt"),
        via="applier",
        expected=Left("pip.no_matching_distribution", "version"),
    ),
    Scenario(
        name="pip/conflicting-pins",
        broken="two lines pin different versions of one distribution",
        files={".gitignore": IGNORED, "requirements.txt": "packaging==24.2\npackaging==24.1\n"},
        command=(*PIP_INSTALL, "-r", "requirements.txt"),
        via="applier",
        expected=Left("pip.resolution_impossible", "exclude each other"),
    ),
)

PLAIN: tuple[Scenario, ...] = (
    Scenario(
        name="python/own-package-in-src",
        broken="the project's own package is in src, and not installed",
        files={
            ".gitignore": IGNORED,
            "pyproject.toml": '[project]\nname = "acme"\nversion = "1"\n',
            "src/acme/__init__.py": "READY = True\n",
            "tests/test_acme.py": importing("acme"),
        },
        command=(*UNITTEST, "discover", "-s", "tests"),
        expected=Fixed(("py.module_not_found_local",), ("run with PYTHONPATH=src",)),
    ),
    Scenario(
        name="python/ascii-terminal",
        broken="the terminal takes ASCII only, and the program prints more",
        files={"report.py": 'print("d\\u00e9j\\u00e0 vu")\n'},
        command=("python3", "report.py"),
        env={"PYTHONIOENCODING": "ascii"},
        expected=Fixed(("py.unicode_encode",), ("PYTHONIOENCODING=utf-8",)),
    ),
    Scenario(
        name="python/script-elsewhere",
        broken="the script is run from the wrong directory",
        files={"backend/tools/generate.py": 'print("done")\n'},
        command=("python3", "tools/generate.py"),
        expected=Fixed(("os.no_such_file",), ("run in backend",)),
    ),
    Scenario(
        name="python/package-behind-directory",
        broken="a wrong directory, and behind it a declared distribution that is not installed",
        files={
            ".gitignore": IGNORED,
            "backend/requirements.txt": "PyYAML==6.0.2\n",
            "backend/checks/test_app.py": importing("yaml"),
        },
        command=("python3", "-m", "unittest", "discover", "-s", "checks"),
        expected=Fixed(
            ("unittest.path_not_found", "py.module_not_found"), ("run in backend", "install PyYAML as backend/")
        ),
    ),
    Scenario(
        name="python/syntax-error",
        broken="a file does not parse",
        files={"app.py": "def broken(:\n    pass\n"},
        command=("python3", "app.py"),
        via="applier",
        expected=Left("py.syntax_error", "app.py"),
    ),
    Scenario(
        name="python/failing-test",
        broken="a unittest fails",
        files={
            "test_sum.py": importing("os").replace("assert os", "self.assertEqual(1 + 1, 3)"),
        },
        command=("python3", "-m", "unittest"),
        expected=Left("unittest.test_failed", "test"),
    ),
)

POETRY_PROJECT = """
[project]
name = "acme"
version = "1.0.0"
requires-python = ">=3.11"
dependencies = ["packaging==24.2"]

[tool.poetry]
package-mode = false
"""

POETRY: tuple[Scenario, ...] = (
    Scenario(
        name="poetry/wrong-directory",
        broken="poetry runs above the only project",
        files={".gitignore": IGNORED, "services/api/pyproject.toml": POETRY_PROJECT},
        command=("poetry", "check"),
        expected=Fixed(("poetry.no_pyproject",), ("run in services/api",)),
        needs=("poetry",),
    ),
    Scenario(
        name="poetry/declared-command-missing",
        broken="the environment lacks a declared program",
        files={
            ".gitignore": IGNORED,
            "pyproject.toml": POETRY_PROJECT.replace("packaging==24.2", "cowsay==6.1"),
        },
        setup="poetry lock -q",
        command=("poetry", "run", "cowsay", "-t", "moo"),
        expected=Fixed(("poetry.command_not_found",), ("install cowsay as pyproject.toml declares",)),
        needs=("poetry",),
    ),
    Scenario(
        name="poetry/lock-outdated",
        broken="a dependency was added, and poetry.lock was not made anew",
        files={".gitignore": IGNORED, "pyproject.toml": POETRY_PROJECT},
        setup="poetry lock -q; sed -i 's/packaging==24.2/packaging==24.2\", \"cowsay==6.1/' pyproject.toml",
        command=("poetry", "install", "--dry-run"),
        via="applier",
        expected=Fixed(("poetry.lock_outdated",), ("regenerate lockfile: poetry lock",), consent=True),
        needs=("poetry",),
    ),
    Scenario(
        name="poetry/no-solution",
        broken="the pinned version does not exist",
        files={".gitignore": IGNORED, "pyproject.toml": POETRY_PROJECT.replace("==24.2", "==0.0.1.dev99")},
        command=("poetry", "lock"),
        via="applier",
        expected=Left("poetry.solver_failed", "version"),
        needs=("poetry",),
    ),
)

UV_PROJECT = """
[project]
name = "acme"
version = "1.0.0"
requires-python = ">=3.11"
dependencies = ["cowsay==6.1"]

[tool.uv]
package = false
"""
ADDS = "sed -i 's/cowsay==6.1/cowsay==6.1\", \"packaging==24.2/' pyproject.toml"

UV: tuple[Scenario, ...] = (
    Scenario(
        name="uv/wrong-directory",
        broken="uv runs above the only project",
        files={".gitignore": IGNORED, "app/pyproject.toml": UV_PROJECT},
        setup="cd app; uv lock -q",
        command=("uv", "lock", "--check"),
        expected=Fixed(("uv.no_project",), ("run in app",)),
        needs=("uv",),
    ),
    Scenario(
        name="uv/declared-package-missing",
        broken="a locked distribution is not in the environment",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT, "test_app.py": importing("cowsay")},
        setup="uv lock -q",
        command=("uv", "run", "--no-sync", *UNITTEST),
        expected=Fixed(("py.module_not_found",), ("install cowsay as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="uv/declared-command-missing",
        broken="a locked program is not in the environment",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT},
        setup="uv lock -q",
        command=("uv", "run", "--no-sync", "cowsay", "-t", "moo"),
        expected=Fixed(("uv.spawn_failed",), ("install cowsay as pyproject.toml declares",)),
        needs=("uv",),
    ),
    Scenario(
        name="uv/no-environment",
        broken="there is no virtual environment to install into",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT},
        setup="uv lock -q",
        command=("uv", "pip", "install", "-q", "-r", "pyproject.toml"),
        expected=Fixed(("uv.no_venv",), ("run command: uv venv",)),
        needs=("uv",),
    ),
    Scenario(
        name="uv/lock-outdated",
        broken="a dependency was added, and uv.lock was not made anew",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT},
        setup=f"uv lock -q; {ADDS}",
        command=("uv", "sync", "--locked"),
        expected=Fixed(("uv.lock_outdated",), ("regenerate lockfile: uv lock",), consent=True),
        needs=("uv",),
    ),
    Scenario(
        name="uv/lock-missing",
        broken="uv.lock was never made",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT},
        command=("uv", "sync", "--frozen"),
        via="applier",
        expected=Fixed(("uv.lock_missing",), ("regenerate lockfile: uv lock",), consent=True),
        needs=("uv",),
    ),
    Scenario(
        name="uv/no-solution",
        broken="two constraints that no version meets",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT.replace("cowsay==6.1", "cowsay>=6,<5")},
        command=("uv", "lock"),
        via="applier",
        expected=Left("uv.no_solution", "exclude each other"),
        needs=("uv",),
    ),
    Scenario(
        name="uv/undeclared-command",
        broken="the command is nothing that the project declares",
        files={".gitignore": IGNORED, "pyproject.toml": UV_PROJECT},
        setup="uv lock -q",
        command=("uv", "run", "--no-sync", "black", "--check", "."),
        via="applier",
        expected=Left("uv.spawn_failed", "black"),
        needs=("uv",),
    ),
)

PYTHON: tuple[Scenario, ...] = (*PIP, *PLAIN, *POETRY, *UV)
