"""What a call cost: from its tokens and the prices of its model, in whole numbers.

Tokens are what is known; a cost is derived from them and says from which list of prices. A model that no list knows has
no cost, which is not the same as a cost of nothing.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from autopack_telemetry.core.model import Price, Signal, Tokens, UsageRecord
from autopack_telemetry.errors import prices_refused

__all__ = [
    "KINDS",
    "Bracket",
    "OwnPrices",
    "PriceList",
    "Rates",
    "first_of",
    "is_one_call",
    "own_prices",
    "plain_model",
    "rates_for",
]

KINDS = ("input", "cache_read", "cache_write", "output")
"""Kinds of tokens that have a price; reasoning is a part of the output."""
PICO_PER_MICRO = 1_000_000
PICO_PER_MTOK = 1_000_000
"""A price of a dollar per million tokens is 10^6 trillionths (10^-12) of a dollar per token."""
MAX_PRICE = Decimal(1_000_000)
"""Dollars per million tokens: a dollar a token."""
MAX_FILE_BYTES = 1 << 20
SOURCE = "file"


class PriceList(Protocol):
    """Prices of models. To be called from any thread."""

    def __call__(self, record: UsageRecord) -> Price | None:
        """What the call cost; None if its model is not known."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Trillionths (10^-12) of a US dollar per token, by kind."""

    input: int
    cache_read: int
    cache_write: int
    output: int

    def cost_microusd(self, tokens: Tokens) -> int:
        """The cost in millionths of a dollar, a half rounded up.

        >>> Rates(3_000_000, 300_000, 3_750_000, 15_000_000).cost_microusd(Tokens(15_000, 80_000, 5_000, 2_000))
        117750
        """
        pico = (
            self.input * tokens.input
            + self.cache_read * tokens.cache_read
            + self.cache_write * tokens.cache_write
            + self.output * tokens.output
        )
        return (pico + PICO_PER_MICRO // 2) // PICO_PER_MICRO


def is_one_call(record: UsageRecord) -> bool:
    """Whether the tokens are those of one call: some prices rise with the length of one call's input, not of many."""
    if record.cumulative or record.signal is Signal.METRIC:
        return False
    return record.signal is not Signal.FILE or bool(record.response_id)


def first_of(*lists: PriceList) -> PriceList:
    """Asks one list after the other."""

    def price(record: UsageRecord) -> Price | None:
        for each in lists:
            found = each(record)
            if found is not None:
                return found
        return None

    return price


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """Prices that a person wrote down.

    Attributes:
        rates: by model, or by ``provider/model``, which wins.
        version: the first digits of the file's hash.
    """

    rates: Mapping[str, Rates]
    version: str

    def __call__(self, record: UsageRecord) -> Price | None:
        """What the call cost; None if the file does not name its model."""
        rates = self.rates.get(f"{record.provider}/{record.model}") or self.rates.get(record.model)
        if rates is None:
            return None
        return Price(rates.cost_microusd(record.tokens), SOURCE, self.version)


def own_prices(content: bytes, name: str) -> OwnPrices:
    """The prices in a file: a TOML table ``[models."NAME"]`` per model, in US dollars per million tokens of each kind.

    ``input`` and ``output`` are required; ``cache_read`` and ``cache_write`` cost what ``input`` does where they are
    not named.

    Raises:
        InvalidArgument: ``PRICES_INVALID``, naming the file, the model and the kind.
    """
    if len(content) > MAX_FILE_BYTES:
        raise prices_refused(name, "the file", f"has {len(content)} bytes; at most {MAX_FILE_BYTES} are read")
    try:
        document = tomllib.loads(content.decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, InvalidOperation) as error:
        raise prices_refused(name, "the file", f"is no TOML: {error}") from error
    for key in document:
        if key != "models":
            raise prices_refused(name, repr(key), 'is not known; there is only [models."NAME"]')
    models = document.get("models", {})
    if not isinstance(models, dict):
        raise prices_refused(name, "models", "must be a table of models")
    rates = {model: _rates(name, model, table) for model, table in models.items()}
    return OwnPrices(rates, hashlib.sha256(content).hexdigest()[:12])


def _rates(name: str, model: str, table: Any) -> Rates:
    if not isinstance(table, dict):
        raise prices_refused(name, f"models.{model!r}", "must be a table of prices")
    for kind in table:
        if kind not in KINDS:
            raise prices_refused(
                name, f"models.{model!r}.{kind}", f"is no kind of tokens; known are {', '.join(KINDS)}"
            )
    for kind in ("input", "output"):
        if kind not in table:
            raise prices_refused(name, f"models.{model!r}.{kind}", "is required, in US dollars per million tokens")
    prices = {kind: _pico(name, f"models.{model!r}.{kind}", value) for kind, value in table.items()}
    given = prices["input"]
    return Rates(given, prices.get("cache_read", given), prices.get("cache_write", given), prices["output"])


def _pico(name: str, field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise prices_refused(name, field, "must be a number of US dollars per million tokens")
    price = Decimal(value)
    if not (price.is_finite() and 0 <= price <= MAX_PRICE):
        raise prices_refused(name, field, f"must be 0 to {MAX_PRICE} US dollars per million tokens")
    return math.floor(price * PICO_PER_MTOK + Decimal("0.5"))


@dataclass(frozen=True, slots=True)
class Bracket:
    """Prices from a length of input on.

    Attributes:
        above: tokens of input that a call must have more than.
        rates: per token.
    """

    above: int
    rates: Rates


def rates_for(brackets: Sequence[Bracket], record: UsageRecord) -> Rates:
    """The prices of a call by the length of its input; of many calls together those of short ones.

    Args:
        brackets: by rising length, the first from 0 tokens on.
        record: of one call or of many.
    """
    if len(brackets) > 1 and is_one_call(record):
        tokens = record.tokens
        length = tokens.input + tokens.cache_read + tokens.cache_write
        for bracket in reversed(brackets):
            if length > bracket.above:
                return bracket.rates
    return brackets[0].rates


_SUFFIX = re.compile(r"\[[a-z0-9]+\]$")


def plain_model(model: str) -> str:
    """A model's name without what an agent adds for itself, such as the length of context in ``claude-opus-5[1m]``."""
    return _SUFFIX.sub("", model)
