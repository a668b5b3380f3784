"""Log records and spans to usage records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autopack_telemetry.core.model import Tokens, UsageRecord
from autopack_telemetry.core.otlp.batch import Batch, Resource, first
from autopack_telemetry.core.otlp.mapping import ANY_VALUE, EventEntry
from autopack_telemetry.core.otlp.values import MAX_ID, Malformed, cost_of, count_of, disjoint, label_of
from autopack_telemetry.core.responses import bounded_id, response_of

__all__ = ["add_event"]


def add_event(
    batch: Batch,
    entry: EventEntry,
    resource: Resource,
    values: Mapping[str, Any],
    *,
    time: int,
    span_id: str,
    failed: bool = False,
) -> None:
    """Adds the record of one event to ``batch``, or why it is none.

    Args:
        batch: of the request.
        entry: by the name of the event.
        resource: whose it is.
        values: the attributes that the entry reads, decoded.
        time: nanoseconds since 1970; 0 if the event has none.
        span_id: in hexadecimal; of a log record the span in which it was made.
        failed: the status of the span is an error.
    """
    for key, allowed in entry.when:
        if _text(values.get(key)) not in allowed:
            return
    try:
        record = _record(batch, entry, resource, values, time, span_id, failed=failed)
    except Malformed as error:
        batch.reject(entry.id, str(error))
        return
    if record is not None:
        batch.records.append(record)


def _record(
    batch: Batch,
    entry: EventEntry,
    resource: Resource,
    values: Mapping[str, Any],
    time: int,
    span_id: str,
    *,
    failed: bool,
) -> UsageRecord | None:
    counts = {}
    for column, keys in entry.tokens:
        for key in keys:
            value = values.get(key)
            if value is not None:
                counts[column] = count_of(value, key)
                break
    failed = failed or entry.failed
    for key, wanted in entry.failed_when:
        if key in values and _holds(values[key], wanted):
            failed = True
    if counts:
        tokens = disjoint(
            counts,
            input_includes_cache=entry.input_includes_cache,
            output_includes_reasoning=entry.output_includes_reasoning,
        )
    elif failed:
        tokens = Tokens()
    elif entry.tokens_optional:
        return None
    else:
        raise Malformed("it has no token counts")
    caller = resource.caller(entry, values)
    for warning in caller.warnings:
        batch.warn(warning)
    response = first(values, entry.response)
    response_id = "" if response is None else label_of(response, entry.response[0], MAX_ID)
    cost = first(values, entry.cost_usd)
    # The first that is there: the same response, the same event of a session, the same moment and span with the same
    # counts. An attempt that failed may carry the id of the request that another one then answered.
    if response_id:
        once = f"{response_id}:{tokens.total}"  # ids of some local servers have three digits
    elif caller.session_id and (sequence := first(values, entry.sequence)) is not None:
        once = f"{caller.session_id}:{sequence}"
    else:
        once = f"{caller.session_id}:{time}:{span_id}:{'.'.join(map(str, counts.values()))}"
    # In the order of the fields: by their names, it would take three times as long.
    return UsageRecord(
        caller.run_id,
        bounded_id(f"{entry.signal.value}{'-failed' if failed else ''}:{caller.agent}:", once),
        batch.time(time),
        tokens,
        caller.phase_id,
        caller.agent,
        caller.provider,
        caller.model,
        caller.role,
        caller.model_class,
        # Agents write 0 for a model whose price they do not know.
        None if cost is None else cost_of(cost, entry.cost_usd[0]) or None,
        failed,
        caller.session_id,
        "" if failed else response_of(batch.sender.bound_run, response_id),
        entry.signal,
    )


def _holds(value: Any, wanted: frozenset[str]) -> bool:
    return value is not None and (ANY_VALUE in wanted or _text(value) in wanted)


def _text(value: Any) -> str:
    """As the file of mappings writes it."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    return ("false", "true")[value] if type(value) is bool else str(value)
