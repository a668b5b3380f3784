"""Points of metrics to usage records: the points of one series at one time are one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from autopack_telemetry.core.model import Signal, UsageRecord
from autopack_telemetry.core.otlp.batch import Batch, Resource
from autopack_telemetry.core.otlp.mapping import COST, MetricEntry
from autopack_telemetry.core.otlp.parts import MAX_PARTS, Parts
from autopack_telemetry.core.otlp.values import Malformed, cost_of, count_of

__all__ = ["CUMULATIVE", "DELTA", "Point", "Points"]

DELTA = 1
CUMULATIVE = 2
"""``AggregationTemporality`` of OTLP."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point, of a counter or the sum of a histogram.

    Attributes:
        attributes: all of them, decoded: they tell one series from another, by their hash.
        value: int, float, or digits as JSON has them.
        temporality: ``DELTA`` or ``CUMULATIVE``.
        start: nanoseconds since 1970 from which it counts.
        time: until when.
    """

    attributes: Mapping[str, Any]
    value: Any
    temporality: int
    start: int
    time: int


@dataclass(slots=True)
class _Group:
    """Points of one series.

    Attributes:
        mixed: of several times, or columns are split: one part may be newer than another, or a whole not all there.
        parts: as :class:`Parts` has them; the larger of two, as a series only grows.
    """

    entry: MetricEntry
    attributes: Mapping[str, Any]
    temporality: int
    start: int
    time: int
    count: int = 0
    mixed: bool = False
    parts: dict[str, int] = field(default_factory=dict)
    problem: str = ""


class Points:
    """The points of one resource.

    Args:
        batch: of the request.
        resource: whose they are.
        identity: all attributes of the resource, decoded; asked for once, if at all.
    """

    def __init__(self, batch: Batch, resource: Resource, identity: Callable[[], Mapping[str, Any]]) -> None:
        self._batch = batch
        self._resource = resource
        self._identity = identity
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._refused: dict[tuple[Any, ...], str] = {}

    def refuse(self, entry: MetricEntry, attributes: Mapping[str, Any], reason: str) -> None:
        """Rejects a point whose time cannot be read, and with it what came of its series: a part of it is missing."""
        if _column(entry, attributes) is not None:
            self._batch.reject(entry.id, reason)
            self._refused[self._series(entry, attributes)] = reason

    def add(self, entry: MetricEntry, point: Point) -> None:
        """Takes a point in."""
        column = _column(entry, point.attributes)
        if column is None:
            return  # a total, or something that is not told apart here
        split = [item for item in sorted(point.attributes.items()) if item[0] in entry.split]
        # Each interval of a delta is a record. Of a cumulative series the newest value replaces the others.
        moment = point.time if point.temporality == DELTA else 0
        key = (*self._series(entry, point.attributes), point.temporality, moment)
        group = self._groups.get(key)
        if group is None:
            group = _Group(entry, point.attributes, point.temporality, point.start, point.time)
            self._groups[key] = group
        group.count += 1
        group.mixed = group.mixed or point.time != group.time or any(key != entry.type for key, _ in split)
        group.start, group.time = min(group.start, point.start), max(group.time, point.time)
        try:
            if point.temporality not in (DELTA, CUMULATIVE):
                raise Malformed("its temporality must be delta or cumulative")
            convert = cost_of if column == COST else count_of
            part = Parts.name(column, repr(split) if split else "")
            group.parts[part] = max(group.parts.get(part, 0), convert(point.value, entry.names[0]))
        except Malformed as error:
            group.problem = str(error)

    def end(self) -> None:
        """Makes the records."""
        identity = repr(sorted(self._identity().items())) if self._groups else ""
        for (agent, family, series, _, moment), group in self._groups.items():
            try:
                if problem := group.problem or self._refused.get((agent, family, series)):
                    raise Malformed(problem)  # the other columns of the series alone would be counted wrongly
                # The empty list stood there in earlier versions, whose series go on. Parts of an interval end together,
                # but each starts when it was first told of.
                start = 0 if moment else group.start
                once = repr((agent, family, identity, series, start, moment, []))
                record = self._record(group, blake2b(once.encode(errors="surrogatepass"), digest_size=16).hexdigest())
            except Malformed as error:
                self._batch.reject(group.entry.id, str(error), group.count)
                continue
            if record is not None:
                self._batch.records.append(record)

    @staticmethod
    def _series(entry: MetricEntry, attributes: Mapping[str, Any]) -> tuple[str | None, str, str]:
        series = [item for item in sorted(attributes.items()) if item[0] not in entry.split]
        return entry.agent.name if entry.agent else None, entry.family, repr(series)

    def _record(self, group: _Group, digest: str) -> UsageRecord | None:
        entry, values = group.entry, group.attributes
        if not any(group.parts.values()):
            return None  # a counter that has not counted yet
        if len(group.parts) > MAX_PARTS:
            raise Malformed(f"its series must have at most {MAX_PARTS} parts")
        parts = Parts(group.parts, entry.input_includes_cache, entry.output_includes_reasoning)
        tokens = parts.tokens() if group.mixed else parts.agreed()
        caller = self._resource.caller(entry, values)
        for warning in caller.warnings:
            self._batch.warn(warning)
        return UsageRecord(
            run_id=caller.run_id,
            usage_id=f"{Signal.METRIC.value}:{digest}",
            time=self._batch.time(group.time),
            tokens=tokens,
            phase_id=caller.phase_id,
            agent=caller.agent,
            provider=caller.provider,
            model=caller.model,
            role=caller.role,
            model_class=caller.model_class,
            reported_cost_microusd=parts.cost,
            session_id=caller.session_id,
            signal=Signal.METRIC,
            cumulative=group.temporality == CUMULATIVE,
            parts=parts.to_text(),
        )


def _column(entry: MetricEntry, attributes: Mapping[str, Any]) -> str | None:
    return entry.column or entry.types.get(str(attributes.get(entry.type)))
