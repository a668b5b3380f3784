"""``python -m autopack_hardening``: serve the hardening service alone."""

from __future__ import annotations

import sys

from autopack_kit.main import main

from autopack_hardening import create
from autopack_hardening.settings import HardeningSettings

if __name__ == "__main__":
    sys.exit(main("hardening", create, HardeningSettings))
