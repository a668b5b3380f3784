"""``python -m autopack_hardening``: this service alone."""

from __future__ import annotations

from autopack_kit.main import main

from autopack_hardening.service import create
from autopack_hardening.settings import HardeningSettings

if __name__ == "__main__":
    raise SystemExit(main("hardening", create, HardeningSettings))
