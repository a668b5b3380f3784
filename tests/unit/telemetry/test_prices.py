from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_telemetry import Tokens, UsageRecord
from autopack_telemetry.adapters.prices import MAX_MODELS, GenaiPrices, LazyPrices, price_list
from autopack_telemetry.core.model import Price, Signal
from autopack_telemetry.core.prices import own_prices
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("genai_prices")

TOKENS = Tokens(15_000, 80_000, 5_000, 2_000, 500)
NOW = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000


def call(model: str, provider: str = "", tokens: Tokens = TOKENS, **fields: Any) -> UsageRecord:
    fields.setdefault("time", NOW)
    return UsageRecord(run_id="run-1", usage_id="1", tokens=tokens, provider=provider, model=model, **fields)


@pytest.fixture(scope="module")
def prices() -> GenaiPrices:
    return GenaiPrices()


def cost(prices: GenaiPrices, record: UsageRecord) -> int | None:
    found = prices(record)
    return found.cost_microusd if found else None


@pytest.mark.parametrize(
    ("provider", "model", "microusd"),
    [
        ("anthropic", "claude-sonnet-4-5", 117_750),
        ("openai", "gpt-5-codex", 55_000),
        ("", "gpt-5-codex", 55_000),
        ("", "claude-sonnet-4-5-20250929", 117_750),
        ("", "anthropic/claude-sonnet-4-5", 117_750),
        ("anthropic", "claude-sonnet-4-5[1m]", 117_750),
        ("openai", "GPT-5-codex", 55_000),
    ],
)
def test_cost_of_known_models_is_that_of_their_list_prices(
    prices: GenaiPrices, provider: str, model: str, microusd: int
) -> None:
    found = prices(call(model, provider))
    assert found is not None
    assert found.cost_microusd == microusd
    assert found.source == "genai-prices"
    assert found.version[0].isdigit()


@pytest.mark.parametrize(
    ("provider", "model"),
    [("", ""), ("", "scripted"), ("openai", "no-such-model"), ("proxy", "gpt-4o"), ("", "openai/"), ("", "x" * 128)],
)  # fmt: skip
def test_unknown_model_has_no_cost_which_is_not_nothing(prices: GenaiPrices, provider: str, model: str) -> None:
    assert prices(call(model, provider)) is None


def test_long_input_of_one_call_costs_more_and_that_of_many_calls_does_not(prices: GenaiPrices) -> None:
    long = call("claude-sonnet-4-5", "anthropic", Tokens(200_001))
    assert cost(prices, long) == 1_200_006
    assert cost(prices, replace(long, tokens=Tokens(200_000))) == 600_000
    for many in (
        replace(long, cumulative=True),
        replace(long, signal=Signal.METRIC),
        replace(long, signal=Signal.FILE),
    ):
        assert cost(prices, many) == 600_003
    assert cost(prices, replace(long, signal=Signal.FILE, response_id="chatcmpl-1")) == 1_200_006


def test_price_is_that_of_the_day_and_the_hour_of_the_call(prices: GenaiPrices) -> None:
    before = int(datetime(2026, 3, 12, tzinfo=UTC).timestamp()) * 1_000_000
    after = int(datetime(2026, 3, 14, tzinfo=UTC).timestamp()) * 1_000_000
    tokens = Tokens(300_000)
    of_day = [cost(prices, call("claude-opus-4-6", "anthropic", tokens, time=time)) for time in (before, after)]
    assert of_day == [3_000_000, 1_500_000]
    night = NOW + 10 * 3_600 * 1_000_000
    of_hour = [cost(prices, call("deepseek-chat", "deepseek", Tokens(10**6), time=time)) for time in (NOW, night)]
    assert of_hour == [270_000, 135_000]


COUNTS = st.integers(0, 3_000_000)


@settings(deadline=None)
@given(
    st.sampled_from(["anthropic/claude-sonnet-4-5", "openai/gpt-5-codex", "google/gemini-2.5-pro", "openai/o3"]),
    COUNTS, COUNTS, COUNTS, COUNTS,
)  # fmt: skip
def test_cost_is_what_the_package_itself_says(
    prices: GenaiPrices, name: str, given_: int, read: int, written: int, output: int
) -> None:
    from genai_prices import Usage, calc_price

    provider, _, model = name.partition("/")
    usage = Usage(
        input_tokens=given_ + read + written, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output
    )
    expected = calc_price(
        usage, model, provider_id=provider, genai_request_timestamp=datetime.fromtimestamp(NOW / 1e6, UTC)
    ).total_price
    found = cost(prices, call(model, provider, Tokens(given_, read, written, output)))
    assert found == int((expected * 1_000_000).quantize(Decimal(1), ROUND_HALF_UP))


def test_names_without_end_are_not_remembered_without_end(prices: GenaiPrices) -> None:
    for number in range(MAX_MODELS + 100):
        assert prices(call("m", f"p{number}")) is None
    assert prices._find.cache_info().currsize <= MAX_MODELS
    assert len(prices._known._provider_misses) <= MAX_MODELS


def test_nothing_is_ever_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = threading.active_count()
    found = GenaiPrices()(call("claude-sonnet-4-5", "anthropic"))
    assert found is not None
    assert threading.active_count() == before  # nor does anything wait to fetch


OWN = b"""
[models.house-model]
input = 2
output = 8.5

[models."anthropic/claude-sonnet-4-5"]
input = 1.5
cache_read = 0.15
cache_write = 1.875
output = 7.5
"""


def test_own_prices_win_and_the_package_has_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_bytes(OWN)
    both = price_list(file, derive=True)
    assert both is not None
    house = both(call("house-model"))
    assert house is not None
    assert (house.cost_microusd, house.source) == (2 * 100_000 + 17_000, "file")  # a cache costs what input does
    assert not getattr(both, "ready", True)  # what the file names needs no other list
    negotiated = both(call("claude-sonnet-4-5", "anthropic"))
    assert negotiated is not None
    assert (negotiated.cost_microusd, negotiated.version) == (58_875, house.version)
    listed = both(call("gpt-5-codex", "openai"))
    assert listed is not None
    assert (listed.cost_microusd, listed.source) == (55_000, "genai-prices")
    assert both(call("scripted")) is None


def test_prices_can_be_switched_off(tmp_path: Path) -> None:
    assert price_list(tmp_path / "missing.toml", derive=False) is None


def test_prices_file_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="PRICES_FILE") as refused:
        price_list(tmp_path / "missing.toml", derive=True)
    assert refused.value.reason == "PRICES_UNREADABLE"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[models", "is no TOML"),
        (b"\xff", "is no TOML"),
        (b"[prices]", "'prices' is not known"),
        (b"models = 1", "models must be a table"),
        (b"[models]\nx = 1", "must be a table of prices"),
        (b"[models.x]\ninput = 1", "output is required"),
        (b"[models.x]\ninput = 1\noutput = 1\nreasoning = 1", "reasoning is no kind"),
        (b"[models.x]\ninput = -1\noutput = 1", "input must be 0 to"),
        (b"[models.x]\ninput = nan\noutput = 1", "input must be"),
        (b"[models.x]\ninput = inf\noutput = 1", "input must be"),
        (b"[models.x]\ninput = true\noutput = 1", "must be a number"),
        (b'[models.x]\ninput = "1"\noutput = 1', "must be a number"),
        (b"[models.x]\ninput = 1e9999\noutput = 1", "input must be"),
    ],
)
def test_prices_that_are_not_understood_are_refused_by_field(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        own_prices(content, "prices.toml")
    assert refused.value.reason == "PRICES_INVALID"
    assert problem in refused.value.message


def test_list_is_loaded_once_however_many_ask() -> None:
    loaded = []

    def load() -> Any:
        loaded.append(1)
        return lambda record: Price(1, "x", "1")

    lazy = LazyPrices(load)
    assert not lazy.ready
    threads = [threading.Thread(target=lazy, args=(call("m"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lazy.ready
    assert len(loaded) == 1
