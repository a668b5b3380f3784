"""Fixtures for tests that run real package managers, builds and test runners."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.toolchain.real_project import RealProject
from tests.integration.toolchain.toolbox import Toolbox, open_toolbox


@pytest.fixture(scope="session")
def toolbox() -> Toolbox:
    return open_toolbox()


@pytest.fixture
def project(toolbox: Toolbox, tmp_path: Path) -> RealProject:
    """An empty project."""
    return RealProject(tmp_path / "project", toolbox, tmp_path)
