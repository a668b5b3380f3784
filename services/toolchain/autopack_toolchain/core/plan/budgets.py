"""What a phase may use: what the text says ("at most 30 minutes / 200k tokens / $5"), else a default by size.

A number is a budget only if the text speaks of the work: "a session timeout of at most 30 minutes" belongs to the
    product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ..model import Evidence
from .clauses import masked
from .knowledge import Knowledge
from .model import Budget, Role, Size
from .statements import Sense, Statement
from .words import words_of

__all__ = ["Explicit", "budget_of", "read_budgets", "size_of", "total"]

MAX_TOKENS = 10**12
MAX_COST_MICROUSD = 10**12
MAX_SECONDS = 30 * 86_400
"""What a budget may be at most: beyond it, it is a slip of the pen."""

MIN_TOKENS = 1_000
"""Fewer tokens are no budget of a run but something of the product."""

_SHORT = 9
"""Words of a sentence that says nothing else."""

_NUMBER = r"([0-9][0-9,_']{0,15}(?:\.[0-9]{1,6})?)"
_TIME = re.compile(_NUMBER + r"\s*-?(seconds?|secs?|s|minutes?|mins?|min|m|hours?|hrs?|hr|h|days?|d)\b", re.IGNORECASE)
_TOKENS = re.compile(_NUMBER + r"\s*(k|m|thousand|million)?\s*-?tokens?\b", re.IGNORECASE)
_TOKENS_BEHIND = re.compile(
    r"\btokens?\s*[:=]?\s*(?:at most|max(?:imum)?|<=|≤|up to)?\s*" + _NUMBER + r"\s*(k|m|thousand|million)?\b",
    re.IGNORECASE,
)
_DOLLARS = re.compile(r"(?:US\$|\$|USD)\s*" + _NUMBER, re.IGNORECASE)
_DOLLARS_BEHIND = re.compile(_NUMBER + r"\s*(?:USD|US\$|dollars?|bucks)\b", re.IGNORECASE)
_FOREIGN = re.compile(r"[€£¥]\s*[0-9]|[0-9]\s*(?:€|£|EUR|GBP|CHF|JPY)\b", re.IGNORECASE)
_SCALE = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(slots=True)
class Explicit:
    """What the text sets; None where it does not. ``foreign``: lines that name a currency other than the dollar."""

    tokens: int | None = None
    cost_microusd: int | None = None
    seconds: int | None = None
    evidence: list[Evidence] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.tokens is not None or self.cost_microusd is not None or self.seconds is not None

    def merged(self, outer: Explicit) -> Explicit:
        """These, and those of ``outer`` where nothing is set here."""
        return Explicit(
            outer.tokens if self.tokens is None else self.tokens,
            outer.cost_microusd if self.cost_microusd is None else self.cost_microusd,
            outer.seconds if self.seconds is None else self.seconds,
            [*self.evidence, *outer.evidence],
            [*self.foreign, *outer.foreign],
        )


def read_budgets(
    statements: Sequence[Statement], numbers: Sequence[int], known: Knowledge
) -> tuple[Explicit, list[Statement]]:
    """The budgets of a text, and the statements without those that set them and ask for nothing else."""
    found = Explicit()
    rest: list[Statement] = []
    for statement in statements:
        text = masked(statement.text)
        amounts = list(_amounts(text))
        foreign = _FOREIGN.search(text) is not None
        if not (amounts or foreign) or not _is_budget(statement, len({kind for kind, _ in amounts}) + foreign, known):
            rest.append(statement)
            continue
        line = numbers[statement.line]
        for kind, value in amounts:
            _set(found, kind, value, line)
        if foreign:
            found.foreign.append(line)
        rest.append(replace(statement, sense=Sense.CONTEXT))
    return found, rest


def budget_of(explicit: Explicit, size: Size, known: Knowledge) -> Budget:
    """The budget of a phase: what the text sets, else the default of its size."""
    limits = known.sizes[size]
    named = {
        "max_tokens": explicit.tokens,
        "max_cost_microusd": explicit.cost_microusd,
        "max_wall_time": explicit.seconds,
    }
    return Budget(
        max_tokens=limits.tokens if explicit.tokens is None else explicit.tokens,
        max_cost_microusd=limits.cost_microusd if explicit.cost_microusd is None else explicit.cost_microusd,
        max_wall_time=timedelta(seconds=limits.seconds if explicit.seconds is None else explicit.seconds),
        size=size,
        defaulted=tuple(name for name, value in named.items() if value is None),
        evidence=tuple(explicit.evidence),
    )


def size_of(deliverables: int, files: int, known: Knowledge) -> Size:
    """The largest size of which a bound is reached."""
    reached = [
        size for size, limits in known.sizes.items() if deliverables >= limits.deliverables or files >= limits.files
    ]
    largest = Size.SMALL
    for size in Size:
        limits = known.sizes[size]
        if size in reached and (deliverables >= limits.deliverables > 0 or files >= limits.files > 0):
            largest = size
    return largest


def total(explicit: Explicit, budgets: Sequence[Budget]) -> tuple[Budget, list[Budget]]:
    """(the budget of the plan, those of its phases): what the text sets for the whole is shared out by size."""
    summed = Budget(
        sum(b.max_tokens for b in budgets),
        sum(b.max_cost_microusd for b in budgets),
        sum((b.max_wall_time for b in budgets), timedelta()),
        max((b.size for b in budgets), key=list(Size).index),
        tuple(
            name
            for name in ("max_tokens", "max_cost_microusd", "max_wall_time")
            if any(name in b.defaulted for b in budgets)
        ),
        tuple(dict.fromkeys(e for b in budgets for e in b.evidence)),
    )
    if not explicit:
        return summed, list(budgets)
    whole = Budget(
        summed.max_tokens if explicit.tokens is None else explicit.tokens,
        summed.max_cost_microusd if explicit.cost_microusd is None else explicit.cost_microusd,
        summed.max_wall_time if explicit.seconds is None else timedelta(seconds=explicit.seconds),
        summed.size,
        tuple(
            n
            for n, v in zip(
                ("max_tokens", "max_cost_microusd", "max_wall_time"),
                (explicit.tokens, explicit.cost_microusd, explicit.seconds),
                strict=True,
            )
            if v is None and n in summed.defaulted
        ),
        tuple(dict.fromkeys([*explicit.evidence, *summed.evidence])),
    )
    return whole, [_share(budget, whole, summed) for budget in budgets]


def _share(budget: Budget, whole: Budget, summed: Budget) -> Budget:
    """A phase's part of the whole; nothing that its own text sets is raised."""

    def part(own: int, all_of_them: int, limit: int) -> int:
        return min(own, limit) if all_of_them <= limit else max(1, own * limit // all_of_them)

    seconds = part(
        int(budget.max_wall_time.total_seconds()),
        int(summed.max_wall_time.total_seconds()),
        int(whole.max_wall_time.total_seconds()),
    )
    return replace(
        budget,
        max_tokens=part(budget.max_tokens, summed.max_tokens, whole.max_tokens),
        max_cost_microusd=part(budget.max_cost_microusd, summed.max_cost_microusd, whole.max_cost_microusd),
        max_wall_time=timedelta(seconds=seconds),
    )


def _amounts(text: str) -> Iterator[tuple[str, int]]:
    """("tokens" | "cost" | "time", tokens, millionths of a dollar or seconds)."""
    for pattern in (_TOKENS, _TOKENS_BEHIND):
        for match in pattern.finditer(text):
            value = int(_number(match.group(1)) * _SCALE.get((match.group(2) or "").lower(), 1))
            if MIN_TOKENS <= value <= MAX_TOKENS:
                yield "tokens", value
    for pattern in (_DOLLARS, _DOLLARS_BEHIND):
        for match in pattern.finditer(text):
            value = int(_number(match.group(1)) * 1_000_000)
            if 0 < value <= MAX_COST_MICROUSD:
                yield "cost", value
    hours = [
        (int(_number(m.group(1)) * _SECONDS[m.group(2)[0].lower()]), m.group(2))
        for m in _TIME.finditer(text)
        if m.group(2) != "M"
    ]
    if hours and 0 < sum(seconds for seconds, _ in hours) <= MAX_SECONDS:
        # "1 h 30 min" is one duration; "30 minutes or 2 hours" is two, and the shorter holds.
        joined = len(hours) == 2 and hours[0][0] > hours[1][0] and hours[0][1][0].lower() != hours[1][1][0].lower()
        yield "time", sum(s for s, _ in hours) if joined else min(s for s, _ in hours)


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", "").replace("'", ""))


def _is_budget(statement: Statement, kinds: int, known: Knowledge) -> bool:
    if statement.role is Role.BUDGET:
        return True
    words = words_of(masked(statement.text))
    about_product = not known.words["budgets.subjects"].isdisjoint(words)
    strong = known.phrases["budgets.strong"].any(words)
    weak = known.phrases["budgets.weak"].any(words)
    if statement.sense in (Sense.DELIVERABLE, Sense.ACCEPTANCE, Sense.NON_GOAL, Sense.DETAIL):
        own = known.phrases["budgets.strong"].at(words, 0) is not None or words[:1] == ("don't",)
        return not about_product and strong and (own or kinds > 1) and len(words) <= 2 * _SHORT
    if about_product and not kinds > 1:
        return False
    begins = any(known.phrases["budgets.weak"].at(words, at) for at in (0, 1))
    return strong or (weak and kinds > 1) or (begins and len(words) <= _SHORT)


def _set(found: Explicit, kind: str, value: int, line: int) -> None:
    evidence = Evidence("", line, f"budget of {kind}", 1.0)
    match kind:
        case "tokens":
            found.tokens = value if found.tokens is None else min(value, found.tokens)
        case "cost":
            found.cost_microusd = value if found.cost_microusd is None else min(value, found.cost_microusd)
        case _:
            found.seconds = value if found.seconds is None else min(value, found.seconds)
    if evidence not in found.evidence:
        found.evidence.append(evidence)
