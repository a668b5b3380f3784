"""Ids that tell one call from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from autopack_telemetry.core.model import UsageRecord
from autopack_telemetry.core.otlp.values import MAX_ID, MAX_NAME

__all__ = ["bounded_id", "of_bound_run", "response_of"]


def bounded_id(prefix: str, rest: str) -> str:
    """``prefix`` and ``rest``, or where that is too long a hash of it."""
    whole = prefix + rest
    if len(whole) <= MAX_ID and whole.isprintable():
        return whole
    return f"{prefix[:MAX_NAME]}{blake2b(whole.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def response_of(bound_run: str | None, response_id: str) -> str:
    """The id by which a response counts once.

    Of a sender that may record for one run alone it holds within that run: else an agent that names the responses of
    another run, with an earlier time, would take them from there.
    """
    return response_id if bound_run is None or not response_id else bounded_id(f"{bound_run}:", response_id)


def of_bound_run(records: Sequence[UsageRecord], bound_run: str | None) -> Sequence[UsageRecord]:
    """The records with their responses as :func:`response_of` has them."""
    if bound_run is None:
        return records
    return [replace(record, response_id=response_of(bound_run, record.response_id)) for record in records]
