"""Which signals count. The rules themselves, beside the property test of the store that applies them."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest
from autopack_telemetry.core.model import Session, Signal, SignalTotal, Tokens
from autopack_telemetry.core.signals import BITS, Standing, best, competing, signals_of


def bits(*signals: Signal) -> int:
    return reduce(or_, (BITS[signal] for signal in signals), 0)


def counted(named: dict[str, set[Signal]], unnamed: set[Signal] = frozenset()) -> set[tuple[str, Signal]]:  # type: ignore[assignment]
    """The (session, signal) pairs that count, of what was told."""
    standing = Standing(bits(*unnamed), reduce(or_, (bits(*told) for told in named.values()), 0))
    told = {**named, "": unnamed}
    return {
        (session, signal)
        for session, signals in told.items()
        for signal in signals
        if not standing.shadow(signal, session, bits(*signals))
    }


L, S, F, M, A = Signal.LOG, Signal.SPAN, Signal.FILE, Signal.METRIC, Signal.API


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        ({L, S, F, M}, {L}),
        ({S, F, M}, {S}),
        ({F, M}, {F}),
        ({M}, {M}),
        ({A}, {A}),
        ({A, L, M}, {A, L}),
        (set(), set()),
    ],
)
def test_of_a_session_the_best_signal_counts_and_the_api_always(told: set[Signal], counts: set[Signal]) -> None:
    assert counted({"s": told}) == {("s", signal) for signal in counts}


def test_each_session_has_its_own_best() -> None:
    assert counted({"s": {L, M}, "t": {M}}) == {("s", L), ("t", M)}


def test_usage_without_session_is_a_shadow_where_a_session_tells_it_better() -> None:
    assert counted({"s": {L}}, {M}) == {("s", L)}  # the metrics of an agent that name no session
    assert counted({"s": {L}}, {F}) == {("s", L)}  # a file handed in after the agent had reported


def test_sessions_are_shadows_where_usage_without_session_tells_them_better() -> None:
    assert counted({"s": {M}, "t": {M, F}}, {L}) == {("", L)}


def test_usage_without_session_counts_beside_sessions_that_are_told_as_well() -> None:
    assert counted({"s": {L}, "t": {M}}, {L, M}) == {("s", L), ("t", M), ("", L)}


def test_api_usage_hides_nothing() -> None:
    assert counted({"s": {M}, "t": {A}}, {A}) == {("s", M), ("t", A), ("", A)}


def test_sets_of_signals() -> None:
    assert signals_of(bits(M, L, A)) == (L, M, A)
    assert best(bits(A)) > max(BITS.values())
    assert [competing(bits(*told)) for told in ((), (L,), (L, A), (L, M), (S, F, M))] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_a_session_does_not_add_up_where_rivals_differ() -> None:
    def session(*totals: tuple[Signal, int]) -> Session:
        told = tuple(SignalTotal(signal, 1, Tokens(output=tokens)) for signal, tokens in totals)
        return Session(1, "a", "s", "r", totals[0][0], told, 0, 0)

    assert session((L, 5), (M, 6)).mismatch
    assert not session((L, 5), (M, 5)).mismatch
    assert not session((L, 5), (A, 6)).mismatch  # the API tells of other calls
