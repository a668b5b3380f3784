"""Signs of punctuation that texts use and that look like others; written as code points, so that nobody confuses them
here.
"""

from __future__ import annotations

__all__ = ["APOSTROPHE", "COLONS", "COMMAS", "DASHES", "ENDS", "QUOTES", "SEMICOLONS"]

APOSTROPHE = "\u2019"
"""The curly one, as editors write it."""

DASHES = "\u2013\u2014-"
"""En dash, em dash, and the hyphen, last, as a class of a regular expression wants it."""

COLONS = ":\uff1a"
COMMAS = ",\uff0c\u3001"
SEMICOLONS = ";\uff1b"
"""The Latin sign, and those of Chinese and Japanese."""

ENDS = "\u3002\uff01\uff1f"
"""Full stop, exclamation and question mark of Chinese and Japanese: no space follows them."""

QUOTES = "\"'\u201c\u201d\u2018\u2019"
"""Straight and curly quotation marks."""
