"""Which entry an item is of, by its name alone."""

from __future__ import annotations

from autopack_telemetry.core.model import Signal
from autopack_telemetry.core.otlp.batch import Batch, Resource
from autopack_telemetry.core.otlp.mapping import EventEntry, MetricEntry

__all__ = ["MAX_NAME_IN_BODY", "event_entry", "metric_entry", "span_entry"]

MAX_NAME_IN_BODY = 128
"""Bytes of a body that may be nothing but the name of its event."""


def event_entry(batch: Batch, resource: Resource, scope: str, name: str) -> EventEntry | None:
    """The entry of a log record; ``name`` may be short in the scope of its agent."""
    mappings = batch.mappings
    entry = mappings.logs.get(name)
    if entry is None:
        prefix = mappings.scopes.get(scope)
        entry = None if prefix is None else mappings.logs.get(prefix + name)
    return entry if entry is not None and batch.concerns(entry, resource, Signal.LOG) else None


def span_entry(batch: Batch, resource: Resource, name: str) -> EventEntry | None:
    """The entry of a span. One with ``any_name`` holds only for a span that has one of its token attributes."""
    mappings = batch.mappings
    entry = mappings.spans.get(name)
    if entry is not None:
        return entry if batch.concerns(entry, resource, Signal.SPAN) else None
    agent = resource.agent
    if agent is not None and Signal.SPAN in mappings.signals[agent.name]:
        return mappings.any_spans.get(agent.name)
    return mappings.any_spans.get("")


def metric_entry(batch: Batch, resource: Resource, name: str) -> MetricEntry | None:
    """The entry of a metric."""
    entry = batch.mappings.metrics.get(name)
    return entry if entry is not None and batch.concerns(entry, resource, Signal.METRIC) else None
