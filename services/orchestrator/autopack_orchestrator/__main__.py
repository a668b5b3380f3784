"""``python -m autopack_orchestrator``: serve the orchestrator alone."""

from __future__ import annotations

import sys

from autopack_kit.main import main

from autopack_orchestrator import create
from autopack_orchestrator.settings import OrchestratorSettings

if __name__ == "__main__":
    sys.exit(main("orchestrator", create, OrchestratorSettings))
