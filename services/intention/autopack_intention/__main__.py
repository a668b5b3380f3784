"""``python -m autopack_intention``: serve the intention service alone."""

from __future__ import annotations

import sys

from autopack_kit.main import main

from autopack_intention import create
from autopack_intention.settings import IntentionSettings

if __name__ == "__main__":
    sys.exit(main("intention", create, IntentionSettings))
