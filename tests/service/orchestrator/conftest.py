from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[3])
if ROOT not in sys.path:  # the helpers are imported as tests.service.orchestrator.bench, from here and from integration
    sys.path.insert(0, ROOT)

from tests.service.orchestrator.bench import Bench, bench, repository  # noqa: E402


@pytest.fixture(autouse=True)
def _no_user_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running
