"""Reads the mappings that come with the package."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from autopack_telemetry.core.otlp.mapping import Mappings, parse_mappings

__all__ = ["load_mappings"]


def load_mappings() -> Mappings:
    """``data/mappings.toml``, checked; errors as :func:`~autopack_telemetry.core.otlp.mapping.parse_mappings`."""
    text = (files("autopack_telemetry") / "data" / "mappings.toml").read_text(encoding="utf-8")
    return parse_mappings(tomllib.loads(text))
