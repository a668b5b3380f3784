"""Which events and metrics tell of usage, and how: ``data/mappings.toml`` as values, checked.

The names of an entry are looked up before any attribute is decoded: of what an agent sends, one item in ten tells of
usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autopack_kit.errors import invalid_field

from autopack_telemetry.core.model import Signal

__all__ = [
    "ATTRIBUTION_KEYS",
    "CLASS_KEY",
    "PHASE_KEY",
    "ROLE_KEY",
    "RUN_KEY",
    "SERVICE_KEY",
    "Agent",
    "EventEntry",
    "Mappings",
    "MetricEntry",
    "parse_mappings",
]

RUN_KEY = "autopack.run.id"
PHASE_KEY = "autopack.phase.id"
ROLE_KEY = "autopack.role"
CLASS_KEY = "autopack.model.class"
ATTRIBUTION_KEYS = (RUN_KEY, PHASE_KEY, ROLE_KEY, CLASS_KEY)
"""Attributes of a record, a data point or a resource that say whose usage it is."""
SERVICE_KEY = "service.name"

ANY_VALUE = "*"
COST = "cost_usd"
EVENT_COLUMNS = frozenset({"input", "cache_read", "cache_write", "output", "reasoning", "tool_input"})
METRIC_COLUMNS = EVENT_COLUMNS | {"uncached_input", "response_output", COST}

_CALLER_LISTS = ("session", "model", "provider")
_EVENT_LISTS = (*_CALLER_LISTS, "response", "sequence", COST)
_EVENT_SIGNALS = {"log": Signal.LOG, "span": Signal.SPAN}


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent whose data are known.

    Attributes:
        name: of its preset.
        services: values of ``service.name`` of its process.
        scopes: instrumentation scope -> prefix of the short names of its events.
        provider: whose models it calls where the data do not say.
        source: where its data are documented.
    """

    name: str
    services: tuple[str, ...]
    scopes: Mapping[str, str]
    provider: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class EventEntry:
    """Log records or spans that tell of one call of a model; the fields are those of the file.

    Attributes:
        agent: None for any other program.
        keys: every attribute that is read; no other is decoded.
        token_keys: those of them that hold counts.
        caller_keys: those that say who called which model, and for whom.
    """

    id: str
    agent: Agent | None
    signal: Signal
    names: tuple[str, ...]
    any_name: bool
    when: tuple[tuple[str, frozenset[str]], ...]
    session: tuple[str, ...]
    response: tuple[str, ...]
    sequence: tuple[str, ...]
    model: tuple[str, ...]
    provider: tuple[str, ...]
    cost_usd: tuple[str, ...]
    tokens: tuple[tuple[str, tuple[str, ...]], ...]
    input_includes_cache: bool
    output_includes_reasoning: bool
    tokens_optional: bool
    failed: bool
    failed_when: tuple[tuple[str, frozenset[str]], ...]
    verified: bool
    version: str
    keys: frozenset[str]
    token_keys: frozenset[str]
    caller_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MetricEntry:
    """A counter or histogram of tokens; the fields are those of the file.

    Attributes:
        agent: None for any other program.
        split: attributes that do not tell one series from another.
        caller_keys: those that say who called which model, and for whom.
    """

    id: str
    agent: Agent | None
    names: tuple[str, ...]
    family: str
    type: str
    types: Mapping[str, str]
    column: str
    session: tuple[str, ...]
    model: tuple[str, ...]
    provider: tuple[str, ...]
    input_includes_cache: bool
    output_includes_reasoning: bool
    verified: bool
    version: str
    split: frozenset[str]
    caller_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mappings:
    """All entries, by what an item is looked up by.

    Attributes:
        agents: by name.
        services: ``service.name`` -> agent.
        scopes: instrumentation scope -> prefix of short event names.
        logs: name of an event -> its entry.
        spans: name of a span -> its entry.
        metrics: name of a metric -> its entry.
        any_spans: name of an agent, "" for any other program -> the entry of all its spans that have tokens.
        signals: name of an agent, "" for any other program -> the signals for which it has entries of its own.
        resource_keys: the attributes of a resource that are read.
    """

    agents: Mapping[str, Agent]
    services: Mapping[str, Agent]
    scopes: Mapping[str, str]
    logs: Mapping[str, EventEntry]
    spans: Mapping[str, EventEntry]
    metrics: Mapping[str, MetricEntry]
    any_spans: Mapping[str, EventEntry]
    signals: Mapping[str, frozenset[Signal]]
    resource_keys: frozenset[str]

    @property
    def entries(self) -> tuple[EventEntry | MetricEntry, ...]:
        """Every entry once, in the order of the file."""
        found: list[EventEntry | MetricEntry] = [*self.logs.values(), *self.spans.values(), *self.any_spans.values()]
        found += self.metrics.values()
        return tuple({entry.id: entry for entry in found}.values())


@dataclass(slots=True)
class _Table:
    """One table of the file: what is taken out of it, and what is left over."""

    where: str
    values: dict[str, Any] = field(default_factory=dict)

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._take(key, str, default))

    def flag(self, key: str, default: bool | None = None) -> bool:
        return bool(self._take(key, bool, default))

    def texts(self, key: str) -> tuple[str, ...]:
        found = self._take(key, list, [])
        if not all(isinstance(item, str) and item for item in found) or len(set(found)) < len(found):
            raise self.bad(key, "must be a list of different, non-empty strings")
        return tuple(found)

    def table(self, key: str) -> dict[str, Any]:
        return dict(self._take(key, dict, {}))

    def conditions(self, key: str) -> tuple[tuple[str, frozenset[str]], ...]:
        found = self.table(key)
        for name, values in found.items():
            if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
                raise self.bad(f"{key}.{name}", "must be a list of strings")
        return tuple((name, frozenset(values)) for name, values in found.items())

    def ends(self) -> None:
        """Nothing may be left: a misspelt key would otherwise be a rule that silently does not hold."""
        if self.values:
            raise self.bad(min(self.values), "is not a key of this table")

    def bad(self, key: str, why: str) -> Exception:
        return invalid_field(f"{self.where}.{key}", why, reason="MAPPING_INVALID")

    def _take(self, key: str, kind: type, default: Any) -> Any:
        value = self.values.pop(key, default)
        if value is None:
            raise self.bad(key, "is missing")
        if not isinstance(value, kind):
            raise self.bad(key, f"must be a {kind.__name__}, not {value!r}")
        return value


def parse_mappings(document: Mapping[str, Any]) -> Mappings:
    """The mappings of a parsed TOML document.

    Raises:
        InvalidArgument: ``MAPPING_INVALID``, naming the entry and its key.
    """
    whole = _Table("mappings", dict(document))
    agents = {name: _agent(name, table) for name, table in whole.table("agents").items()}
    events = [_event(item, index, agents) for index, item in enumerate(whole._take("events", list, []))]
    metrics = [_metric(item, index, agents) for index, item in enumerate(whole._take("metrics", list, []))]
    whole.ends()
    named = [(name, entry) for entry in events for name in entry.names]
    keys = {SERVICE_KEY, *ATTRIBUTION_KEYS}
    signals: dict[str, set[Signal]] = {"": set(), **{name: set() for name in agents}}
    every: list[EventEntry | MetricEntry] = [*events, *metrics]
    for entry in every:
        keys.update(entry.session)
        signals[_owner(entry)].add(_signal(entry))
    _check_unique(whole, every)
    return Mappings(
        agents=MappingProxyType(agents),
        services=_services(whole, agents),
        scopes=MappingProxyType({scope: prefix for agent in agents.values() for scope, prefix in agent.scopes.items()}),
        logs=MappingProxyType({name: entry for name, entry in named if entry.signal is Signal.LOG}),
        spans=MappingProxyType({name: entry for name, entry in named if entry.signal is Signal.SPAN}),
        metrics=MappingProxyType({name: entry for entry in metrics for name in entry.names}),
        any_spans=MappingProxyType(
            {entry.agent.name if entry.agent else "": entry for entry in events if entry.any_name}
        ),
        signals=MappingProxyType({name: frozenset(found) for name, found in signals.items()}),
        resource_keys=frozenset(keys),
    )


def _agent(name: str, document: Any) -> Agent:
    table = _Table(f"agents.{name}", dict(document) if isinstance(document, dict) else {})
    scopes = table.table("scopes")
    if not all(isinstance(prefix, str) for prefix in scopes.values()):
        raise table.bad("scopes", "must map scopes to prefixes")
    agent = Agent(
        name=name,
        services=table.texts("services"),
        scopes=MappingProxyType(scopes),
        provider=table.text("provider", ""),
        source=table.text("source"),
    )
    table.ends()
    return agent


def _event(document: Any, index: int, agents: Mapping[str, Agent]) -> EventEntry:
    table = _entry_table("events", document, index)
    signal = _EVENT_SIGNALS.get(table.text("signal"))
    if signal is None:
        raise table.bad("signal", f"must be one of {', '.join(_EVENT_SIGNALS)}")
    tokens = _Table(f"{table.where}.tokens", table.table("tokens"))
    columns = tuple((column, tokens.texts(column)) for column in sorted(EVENT_COLUMNS & tokens.values.keys()))
    tokens.ends()
    failed = table.flag("failed", default=False)
    when, failed_when = table.conditions("when"), table.conditions("failed_when")
    lists: dict[str, Any] = {key: table.texts(key) for key in _EVENT_LISTS}
    token_keys = frozenset(key for _, keys in columns for key in keys)
    known = {*ATTRIBUTION_KEYS, *token_keys, *(key for key, _ in (*when, *failed_when))}
    entry = EventEntry(
        agent=_agent_of(table, agents),
        signal=signal,
        names=table.texts("names"),
        any_name=table.flag("any_name", default=False),
        when=when,
        tokens=columns,
        # A failed call need not say how it counts what it does not count.
        input_includes_cache=table.flag("input_includes_cache", default=False if failed else None),
        output_includes_reasoning=table.flag("output_includes_reasoning", default=True if failed else None),
        tokens_optional=table.flag("tokens_optional", default=False),
        failed=failed,
        failed_when=failed_when,
        keys=frozenset(known.union(*lists.values())),
        token_keys=token_keys,
        caller_keys=_caller_keys(lists),
        **lists,
        **_proof(table),
    )
    table.ends()
    if entry.any_name == bool(entry.names) or (entry.any_name and signal is not Signal.SPAN):
        raise table.bad("names", "must be given, or any_name for spans, and not both")
    if not entry.failed and not token_keys:
        raise table.bad("tokens", "must name attributes, unless the event tells of a failure")
    return entry


def _metric(document: Any, index: int, agents: Mapping[str, Agent]) -> MetricEntry:
    table = _entry_table("metrics", document, index)
    types, column, kind = table.table("types"), table.text("column", ""), table.text("type", "")
    lists: dict[str, Any] = {key: table.texts(key) for key in _CALLER_LISTS}
    for value, name in {**types, "column": column or COST}.items():
        if name not in METRIC_COLUMNS:
            raise table.bad(f"types.{value}", f"{name!r} must be one of {', '.join(sorted(METRIC_COLUMNS))}")
    if bool(kind and types) == bool(column):
        raise table.bad("type", "must be given with types, or column, and not both")
    entry = MetricEntry(
        agent=_agent_of(table, agents),
        names=table.texts("names"),
        family=table.text("family"),
        type=kind,
        types=MappingProxyType(types),
        column=column,
        input_includes_cache=table.flag("input_includes_cache"),
        output_includes_reasoning=table.flag("output_includes_reasoning"),
        caller_keys=_caller_keys(lists),
        split=frozenset({*table.texts("ignore"), *([kind] if kind else ())}),
        **lists,
        **_proof(table),
    )
    if table.text("temporality") not in ("delta", "cumulative"):
        raise table.bad("temporality", "must be delta or cumulative")
    table.ends()
    if not entry.names:
        raise table.bad("names", "must be given")
    return entry


def _entry_table(kind: str, document: Any, index: int) -> _Table:
    table = _Table(f"{kind}[{index}]", dict(document) if isinstance(document, dict) else {})
    table.where = f"{kind}[{table.values.get('id', index)}]"
    return table


def _caller_keys(lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return (*(key for name in _CALLER_LISTS for key in lists[name]), *ATTRIBUTION_KEYS)


def _proof(table: _Table) -> dict[str, Any]:
    verified, version = table.flag("verified"), table.text("version")
    if verified and not version:
        raise table.bad("version", "must name the version that the mapping was verified with")
    return {"id": table.text("id"), "verified": verified, "version": version}


def _agent_of(table: _Table, agents: Mapping[str, Agent]) -> Agent | None:
    name = table.text("agent")
    if name and name not in agents:
        raise table.bad("agent", f"{name!r} must be one of {', '.join(sorted(agents))}, or empty")
    return agents.get(name)


def _owner(entry: EventEntry | MetricEntry) -> str:
    return entry.agent.name if entry.agent else ""


def _signal(entry: EventEntry | MetricEntry) -> Signal:
    return entry.signal if isinstance(entry, EventEntry) else Signal.METRIC


def _services(table: _Table, agents: Mapping[str, Agent]) -> Mapping[str, Agent]:
    found: dict[str, Agent] = {}
    for agent in agents.values():
        for service in agent.services:
            if service in found:
                raise table.bad(f"agents.{agent.name}.services", f"{service!r} is also one of {found[service].name}")
            found[service] = agent
    return MappingProxyType(found)


def _check_unique(table: _Table, entries: Sequence[EventEntry | MetricEntry]) -> None:
    ids: set[str] = set()
    names: dict[tuple[Signal, str], str] = {}
    for entry in entries:
        if entry.id in ids:
            raise table.bad(entry.id, "is the id of two entries")
        ids.add(entry.id)
        any_name = isinstance(entry, EventEntry) and entry.any_name
        for name in entry.names or ((f"any of {_owner(entry)}",) if any_name else ()):
            if other := names.get((_signal(entry), name)):
                raise table.bad(entry.id, f"has the name {name!r}, as {other} has")
            names[_signal(entry), name] = entry.id
