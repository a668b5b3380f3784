"""Scenarios of pip, poetry, uv, pytest, ruff and black."""

from __future__ import annotations

from tests.integration.hardening.scenario import Fixed, Left, Scenario

__all__ = ["PYTHON"]

IGNORED = ".venv/\n__pycache__/\n*.egg-info/\n.pytest_cache/\n.ruff_cache/\n"
UNITTEST = ("python", "-m", "unittest")
TEST = """
import unittest

import {module}


class Test(unittest.TestCase):
    def test(self):
        assert {module}
"""

PYTHON: tuple[Scenario, ...] = (
    Scenario(
        name="pip/declared-package-missing",
        broken="a distribution that requirements.txt declares is not installed; its import name is another",
        files={
            ".gitignore": IGNORED,
            "requirements.txt": "PyYAML==6.0.2\n",
            "test_app.py": TEST.format(module="yaml"),
        },
        command=UNITTEST,
        expected=Fixed(("py.module_not_found",), ("install PyYAML as requirements.txt declares",)),
    ),
    Scenario(
        name="pip/undeclared-package",
        broken="a module is imported that nothing declares, although an index has a distribution of that name",
        files={
            ".gitignore": IGNORED,
            "requirements.txt": "PyYAML==6.0.2\n",
            "test_app.py": TEST.format(module="attrs"),
        },
        command=UNITTEST,
        via="applier",
        expected=Left("py.module_not_found", "'attrs'"),
    ),
)
