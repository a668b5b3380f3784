"""One request on its way to records: whose usage it is, what became of its items, and what the sender is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import Signal, UsageRecord, UsageRole
from autopack_telemetry.core.otlp.mapping import (
    CLASS_KEY,
    PHASE_KEY,
    ROLE_KEY,
    RUN_KEY,
    SERVICE_KEY,
    Agent,
    EventEntry,
    Mappings,
    MetricEntry,
)
from autopack_telemetry.core.otlp.values import MAX_ID, MAX_NAME, Malformed, label_of, run_problem
from autopack_telemetry.core.plural import times

__all__ = [
    "GENERIC_AGENT",
    "MAX_AHEAD",
    "MAX_BEHIND",
    "MAX_PARTS",
    "Batch",
    "Caller",
    "Resource",
    "Sender",
    "TooManyParts",
]

GENERIC_AGENT = "generic"
"""Stands for a program that does not say its name."""
MAX_AHEAD = 86_400 * 1_000_000
MAX_BEHIND = 30 * MAX_AHEAD
"""A day and thirty, in microseconds. OTLP tells of what has just happened, and exporters retry for minutes: a time
outside is that of a wrong clock, and the time of arrival stands in its place."""
MAX_PARTS = 200_000
"""Resources, scopes and items of one request. Exporters send 512 items at a time; but two bytes can stand for an empty
one, and 64 MiB for what would be read for minutes."""
MAX_REASONS = 5
"""Different reasons that a sender is told; the count is always whole."""

_ROLES = {role.value: role for role in UsageRole}
_CLASSES = {item.value: item for item in ModelClass if item is not ModelClass.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Sender:
    """What is known of a request as a whole.

    Attributes:
        claims: what its headers say, under the keys of the attributes: ``autopack.run.id`` and so on.
        bound_run: the one run that its token may record for; None for any.
        now: when it arrived, in microseconds since 1970.
    """

    now: int
    claims: Mapping[str, str] = field(default_factory=dict)
    bound_run: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called which model, and for whom: the same for nearly all items of a process.

    Attributes:
        session_id: the agent's own name of the session; "" if it names none.
        warnings: what of this could not be used.
    """

    run_id: str
    phase_id: str
    role: UsageRole
    model_class: ModelClass
    agent: str
    provider: str
    model: str
    session_id: str
    warnings: tuple[str, ...]


class Resource:
    """The resource of some items.

    Attributes:
        values: its attributes, of those that are read.
        agent: whose process it is; None if that is not a known one.
    """

    __slots__ = ("_caller", "_sender", "agent", "values")

    def __init__(self, values: Mapping[str, Any], mappings: Mappings, sender: Sender) -> None:
        self.values = values
        service = values.get(SERVICE_KEY)
        self.agent: Agent | None = mappings.services.get(service) if isinstance(service, str) else None
        self._sender = sender
        self._caller: Callable[..., Caller] | None = None

    def caller(self, entry: EventEntry | MetricEntry, values: Mapping[str, Any]) -> Caller:
        """Of an item of that entry with these attributes.

        Raises:
            Malformed: a name is none, or the token of the sender is not for that run.
        """
        if self._caller is None:  # made for the first item: of resources without any a request may hold millions
            # Of one request, so bounded by its size. Typed: True, 1 and 1.0 are equal, but not the same name.
            self._caller = lru_cache(maxsize=None, typed=True)(self._find_caller)
        return self._caller(entry, *map(values.get, entry.caller_keys))

    def _find_caller(self, entry: EventEntry | MetricEntry, *told: Any) -> Caller:
        values = dict(zip(entry.caller_keys, told, strict=True))
        # Attributes of the item come first, then those of the resource, then the headers.
        levels, warnings = (values, self.values, self._sender.claims), []  # type: tuple[Mapping[str, Any], ...], list[str]
        agent, session = entry.agent or self.agent, first(values, entry.session)
        if session is None:
            session = first(self.values, entry.session)
        return Caller(
            run_id=_run(levels, self._sender.bound_run, warnings),
            phase_id=_phase(levels, warnings),
            role=_choice(levels, ROLE_KEY, _ROLES, UsageRole.AGENT, warnings),
            model_class=_choice(levels, CLASS_KEY, _CLASSES, ModelClass.UNKNOWN, warnings),
            agent=agent.name if agent else _generic_name(self.values.get(SERVICE_KEY)),
            provider=_label(first(values, entry.provider), entry.provider, agent.provider if agent else ""),
            model=_label(first(values, entry.model), entry.model),
            session_id="" if session is None else label_of(session, entry.session[0], MAX_ID),
            warnings=tuple(warnings),
        )


class TooManyParts(ValueError):
    """A request has more than :data:`MAX_PARTS`."""


class Batch:
    """Collects the records of a request and why others are none.

    Attributes:
        records: what is to be kept.
        rejected: items that were usage and could not be recorded.
    """

    def __init__(self, mappings: Mappings, sender: Sender) -> None:
        self.mappings = mappings
        self.sender = sender
        self.records: list[UsageRecord] = []
        self.rejected = 0
        self._parts = 0
        self._reasons: dict[str, int] = {}
        self._warnings: dict[str, int] = {}

    def parts(self, count: int) -> None:
        """Counts further parts of the request before they are read.

        Raises:
            TooManyParts: nothing of the request is to be kept.
        """
        self._parts += count
        if self._parts > MAX_PARTS:
            raise TooManyParts(f"it has more than {MAX_PARTS:,} resources, scopes and items")

    def resource(self, values: Mapping[str, Any]) -> Resource:
        """Starts a resource."""
        return Resource(values, self.mappings, self.sender)

    def concerns(self, entry: EventEntry | MetricEntry, resource: Resource, signal: Signal) -> bool:
        """Whether the entry holds there. That of any program does not where the agent is known and has its own: Gemini
        CLI tells each call twice, once by the conventions."""
        agent = resource.agent
        return entry.agent is not None or agent is None or signal not in self.mappings.signals[agent.name]

    def time(self, nanoseconds: int) -> int:
        """When an item was, in microseconds: what it says, unless no clock can have said so."""
        now = self.sender.now
        if not nanoseconds:
            return now
        time = nanoseconds // 1000
        if now - MAX_BEHIND <= time <= now + MAX_AHEAD:
            return time
        self.warn("a time is more than 30 days old or a day ahead; the time of arrival was taken")
        return now

    def reject(self, item: str, reason: str, count: int = 1) -> None:
        """Counts items of an entry that cannot be recorded."""
        self.rejected += count
        text = f"{item}: {reason}"
        if text in self._reasons or len(self._reasons) < MAX_REASONS:
            self._reasons[text] = self._reasons.get(text, 0) + count

    def warn(self, text: str) -> None:
        """Counts items that were recorded, but not as they were sent."""
        if text in self._warnings or len(self._warnings) < MAX_REASONS:
            self._warnings[text] = self._warnings.get(text, 0) + 1

    @property
    def warnings(self) -> Mapping[str, int]:
        """What was recorded otherwise than it was sent, with how often."""
        return self._warnings

    def message(self) -> str:
        """What the sender is told: for ``partial_success.error_message``; empty if all is well."""
        parts = [f"{count} not recorded, {text}" for text, count in self._reasons.items()]
        told = sum(self._reasons.values())
        if told < self.rejected:
            parts.append(f"{self.rejected - told} not recorded for other reasons")
        parts += [f"warning, {times(count)}: {text}" for text, count in self._warnings.items()]
        return "; ".join(parts)


def first(values: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the first of ``keys`` that is there and not empty; None if none is."""
    for key in keys:
        value = values.get(key)
        if value is not None and value != "":
            return value
    return None


def _run(levels: tuple[Mapping[str, Any], ...], bound_run: str | None, warnings: list[str]) -> str:
    """The run that an item names, or to which the sender is bound."""
    named = first_of(levels, RUN_KEY)
    run_id = named if isinstance(named, str) else ""
    if named is not None and (problem := run_problem(run_id)):
        # To whom else it would be counted is a guess. A session that was registered may still say.
        warnings.append(f"{RUN_KEY} {problem}; it was not used")
        return bound_run or ""
    if bound_run is not None and run_id not in ("", bound_run):
        raise Malformed(f"{RUN_KEY} names a run that the token is not for")
    return bound_run or run_id


def _phase(levels: tuple[Mapping[str, Any], ...], warnings: list[str]) -> str:
    """The nearest phase that is not another run's."""
    run = first_of(levels, RUN_KEY)
    for level in levels:
        phase = level.get(PHASE_KEY)
        if phase and level.get(RUN_KEY) in (None, "", run):
            try:
                return label_of(phase, PHASE_KEY, MAX_NAME)
            except Malformed as error:
                warnings.append(f"{error}; it was not used")
                return ""
    return ""


def _choice(
    levels: tuple[Mapping[str, Any], ...], key: str, known: Mapping[str, Any], default: Any, warnings: list[str]
) -> Any:
    value = first_of(levels, key)
    if value is None:
        return default
    found = known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        warnings.append(f"{key} must be one of {', '.join(known)}; it was not used")
    return found or default


def first_of(levels: tuple[Mapping[str, Any], ...], key: str) -> Any:
    """The value of ``key`` at the first level that has one."""
    return next((level[key] for level in levels if level.get(key) not in (None, "")), None)


def _label(value: Any, keys: tuple[str, ...], default: str = "") -> str:
    return default if value is None else label_of(value, keys[0], MAX_NAME)


def _generic_name(service: Any) -> str:
    try:
        return label_of(service, SERVICE_KEY, MAX_NAME) or GENERIC_AGENT
    except Malformed:
        return GENERIC_AGENT
