"""How long the parts of an intention may be: each far above what real goals have.

Bytes are those of UTF-8.
"""

from __future__ import annotations

__all__ = [
    "MAX_DESCRIPTION_BYTES",
    "MAX_GLOBS",
    "MAX_GLOB_BYTES",
    "MAX_ITEMS",
    "MAX_ITEM_BYTES",
    "MAX_TITLE_BYTES",
]

MAX_TITLE_BYTES = 500
MAX_DESCRIPTION_BYTES = 16 << 10
MAX_ITEMS = 100
MAX_ITEM_BYTES = 2 << 10
MAX_GLOBS = 200
MAX_GLOB_BYTES = 1 << 10
