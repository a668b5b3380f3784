"""``python -m autopack_orchestrator``: this service alone, on its own address."""

from __future__ import annotations

from autopack_kit.main import main

from autopack_orchestrator import create
from autopack_orchestrator.settings import OrchestratorSettings

if __name__ == "__main__":
    raise SystemExit(main("orchestrator", create, OrchestratorSettings))
