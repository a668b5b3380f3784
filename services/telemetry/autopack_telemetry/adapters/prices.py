"""Prices of models: the list of the package ``genai-prices``, if it is installed, and a file of one's own.

Nothing is ever fetched: the list is the one that came with the package, and newer prices come with a newer package.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from autopack_telemetry.core.model import Price, UsageRecord
from autopack_telemetry.core.prices import (
    PICO_PER_MTOK,
    Bracket,
    OwnPrices,
    PriceList,
    Rates,
    first_of,
    own_prices,
    plain_model,
    rates_for,
)
from autopack_telemetry.errors import prices_unreadable

__all__ = ["GenaiPrices", "LazyPrices", "price_list"]

PACKAGE = "genai-prices"
MAX_MODELS = 10_000
"""Names of models that are remembered: senders choose them, so there is no end to them."""
_KINDS = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")
_PROBE = 1_000_000
"""Tokens; prices are asked for so many, so that no digit is lost."""
_ALIASES = {"x_ai": "x-ai"}  # by OpenTelemetry's conventions
_Model = Any


class GenaiPrices:
    """The list of the package. Takes half a second and 60 MB to load, then about a microsecond for a call.

    Prices of a model may depend on the day, on the hour, and on the length of the input; what they are for one token is
    worked out once and remembered.
    """

    def __init__(self) -> None:
        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot

        self._version = metadata.version(PACKAGE)
        self._snapshot: Callable[[], Any] = lambda: DataSnapshot(providers=providers, from_auto_update=False)
        self._known = self._snapshot()
        self._asked = 0
        self._brackets: dict[int, tuple[Any, tuple[Bracket, ...]]] = {}
        self._find = lru_cache(MAX_MODELS)(self._look_up)

    def __call__(self, record: UsageRecord) -> Price | None:
        """What the call cost; None if the list does not know its model."""
        if not record.model:
            return None
        model = self._find(record.provider, record.model)
        if model is None:
            return None
        prices = model.prices
        if isinstance(prices, list):  # by day or hour
            prices = model.get_prices(datetime.fromtimestamp(record.time / 1_000_000, UTC))
        brackets = self._brackets_of(prices)
        if not brackets:
            return None
        return Price(rates_for(brackets, record).cost_microusd(record.tokens), PACKAGE, self._version)

    def _look_up(self, provider: str, model: str) -> _Model | None:
        """The model of a provider, or, if none is named, of the provider whose names look like this."""
        self._asked += 1
        if self._asked % MAX_MODELS == 0:
            self._known = self._snapshot()  # it remembers what it did not find, for ever
        name = plain_model(model)
        found = self._model_of(_ALIASES.get(provider, provider), name)
        if found is None and not provider:
            prefix, slash, rest = name.partition("/")
            found = self._model_of(prefix, rest) if slash else None
        return found

    def _model_of(self, provider: str, model: str) -> _Model | None:
        try:
            return self._known.find_provider_model(model, None, provider or None, None)[1]
        except LookupError:
            return None

    def _brackets_of(self, prices: Any) -> tuple[Bracket, ...]:
        found = self._brackets.get(id(prices))
        if found is None:
            # The object is kept beside its prices, so that no other one gets its id.
            found = self._brackets[id(prices)] = (prices, _brackets(prices))
        return found[1]


def _brackets(prices: Any) -> tuple[Bracket, ...]:
    """Prices per token by length of input; none if the model is not paid by tokens."""
    of_kinds = [price for kind in _KINDS if (price := getattr(prices, kind)) is not None]
    if not of_kinds:
        return ()
    starts = {tier.start for price in of_kinds for tier in getattr(price, "tiers", ())}
    return tuple(Bracket(start, _rates(prices, start)) for start in sorted({0, *starts}))


def _rates(prices: Any, above: int) -> Rates:
    """By asking the package itself, because it knows what a kind without price of its own costs."""
    from genai_prices import Usage

    def total(**tokens: int) -> Decimal:
        found: Decimal = prices.calc_price(Usage(**tokens))["total_price"]
        return found

    # Between the start of this bracket and that of the next: prices of a length count for all tokens of a call.
    length = above + 1
    base = total(input_tokens=length)
    return Rates(
        input=_pico(base, length),
        cache_read=_pico(total(input_tokens=length, cache_read_tokens=length), length),
        cache_write=_pico(total(input_tokens=length, cache_write_tokens=length), length),
        output=_pico(total(input_tokens=length, output_tokens=_PROBE) - base, _PROBE),
    )


def _pico(dollars: Decimal, tokens: int) -> int:
    return int((dollars * PICO_PER_MTOK * 1_000_000 / tokens).to_integral_value())


class LazyPrices:
    """A list that is loaded when the first call is priced: a command that prices nothing does not wait for it.

    Attributes:
        ready: whether it is loaded, so that a call takes microseconds.
    """

    def __init__(self, load: Callable[[], PriceList]) -> None:
        self._load = load
        self._lock = Lock()
        self._list: PriceList | None = None

    @property
    def ready(self) -> bool:
        """Whether a call needs no loading."""
        return self._list is not None

    def __call__(self, record: UsageRecord) -> Price | None:
        """What the call cost; loads the list if that was not done."""
        if self._list is None:
            with self._lock:
                if self._list is None:
                    self._list = self._load()
        return self._list(record)


def price_list(file: Path | None, *, derive: bool) -> PriceList | None:
    """What prices calls: a file of one's own, then the package.

    Args:
        file: of one's own; read now, so that what is wrong with it is known at the start.
        derive: False for no prices at all.

    Raises:
        InvalidArgument: ``PRICES_INVALID``.
        FailedPrecondition: ``PRICES_UNREADABLE``.
    """
    if not derive:
        return None
    own = _own(file) if file is not None else None
    packaged = LazyPrices(GenaiPrices) if find_spec("genai_prices") is not None else None
    if own is None or packaged is None:
        return own or packaged
    return _Both(own, packaged)


class _Both:
    """One's own prices before those of the package, which is loaded only for what they do not name."""

    def __init__(self, own: OwnPrices, packaged: LazyPrices) -> None:
        self._packaged = packaged
        self._price = first_of(own, packaged)

    @property
    def ready(self) -> bool:
        """Whether a call needs no loading."""
        return self._packaged.ready

    def __call__(self, record: UsageRecord) -> Price | None:
        """What the call cost."""
        return self._price(record)


def _own(file: Path) -> OwnPrices:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise prices_unreadable(str(file), error.strerror or str(error)) from error
    return own_prices(content, str(file))
