"""``python -m autopack_toolchain``: serve the toolchain service alone."""

from __future__ import annotations

import sys

from autopack_kit.main import main

from autopack_toolchain import create
from autopack_toolchain.settings import ToolchainSettings

if __name__ == "__main__":
    sys.exit(main("toolchain", create, ToolchainSettings))
