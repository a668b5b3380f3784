"""What a series of a metric has told of each column, as its sender counts.

Input may include what came from a cache, output what was reasoning. How much of it does is known only when both have
been told, which may be in two requests. So the parts are kept as they were told, and the columns of the row, which are
disjoint, are made from all of them, in whatever order they came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from autopack_telemetry.core.model import Tokens
from autopack_telemetry.core.otlp.mapping import COST
from autopack_telemetry.core.otlp.values import disjoint

__all__ = ["MAX_PARTS", "Parts"]

MAX_PARTS = 64
"""Of one series: nine columns, each of which is split up by some modalities."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one series; they only grow, so of two values of a part the larger is the later.

    Attributes:
        told: column of the mapping, with a hash of the attributes that split it -> value.
        input_includes_cache: how the sender counts its input.
        output_includes_reasoning: how it counts its output.
    """

    told: Mapping[str, int]
    input_includes_cache: bool
    output_includes_reasoning: bool

    @staticmethod
    def name(column: str, split: str) -> str:
        """The name of a part; ``split`` is empty where nothing splits the column."""
        if not split:
            return column
        return f"{column}/{blake2b(split.encode(errors='surrogatepass'), digest_size=8).hexdigest()}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From a row."""
        cache, reasoning, told = json.loads(text)
        return cls(told, cache, reasoning)

    def to_text(self) -> str:
        """For a row; of equal parts the same."""
        held = [self.input_includes_cache, self.output_includes_reasoning, dict(sorted(self.told.items()))]
        return json.dumps(held, separators=(",", ":"))

    def merged(self, other: Parts) -> Parts:
        """With what another request told; of more than :data:`MAX_PARTS` those that are known already."""
        names = {*self.told, *other.told}
        known = names if len(names) <= MAX_PARTS else self.told
        told = {name: max(self.told.get(name, 0), other.told.get(name, 0)) for name in known}
        return Parts(told, self.input_includes_cache, self.output_includes_reasoning)

    def counts(self) -> dict[str, int]:
        """The sum of each column."""
        found: dict[str, int] = {}
        for name, value in self.told.items():
            column = name.partition("/")[0]
            found[column] = found.get(column, 0) + value
        return found

    @property
    def cost(self) -> int | None:
        """Millionths of a dollar as reported; None if nothing was: agents write 0 for models that they do not know."""
        return self.counts().get(COST) or None

    def agreed(self) -> Tokens:
        """The disjoint columns of parts that were told at one time.

        Raises:
            Malformed: a part is larger than what it must be a part of.
        """
        return self._disjoint(self.counts())

    def tokens(self) -> Tokens:
        """The disjoint columns, as far as they are known: a part may come before what includes it."""
        counts = self.counts()
        if self.input_includes_cache and "input" in counts:
            counts["input"] = max(counts["input"], counts.get("cache_read", 0) + counts.get("cache_write", 0))
        if self.output_includes_reasoning and "output" in counts:
            counts["output"] = max(counts["output"], counts.get("reasoning", 0))
        return self._disjoint(counts)

    def _disjoint(self, counts: dict[str, int]) -> Tokens:
        return disjoint(
            counts,
            input_includes_cache=self.input_includes_cache,
            output_includes_reasoning=self.output_includes_reasoning,
        )
