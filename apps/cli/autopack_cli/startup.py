"""The end of a command's start."""

from __future__ import annotations

import gc

__all__ = ["started"]


def started() -> None:
    """To be called when everything is imported and made, by whatever goes on for longer than a moment.

    From here on garbage is collected, but what is there by now is not looked through each time.
    """
    gc.freeze()
    gc.enable()
