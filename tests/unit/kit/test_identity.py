from __future__ import annotations

import asyncio

import pytest
from autopack_kit.errors import PermissionDenied, Unauthenticated
from autopack_kit.identity import Principal, Scope, as_principal, current_principal, require, require_run


def holder(*scopes: Scope, run_id: str | None = None) -> Principal:
    return Principal("someone", "acme", frozenset(scopes), run_id)


@pytest.mark.parametrize(
    ("granted", "allowed"),
    [
        (Scope.READ, {Scope.READ}),
        (Scope.RUN, {Scope.RUN, Scope.READ}),
        (Scope.INGEST, {Scope.INGEST}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_scope_implies_exactly_what_its_meaning_says(granted: Scope, allowed: set[Scope]) -> None:
    assert {scope for scope in Scope if holder(granted).has(scope)} == allowed


def test_require_without_the_scope_says_which_one_is_needed() -> None:
    with as_principal(holder(Scope.READ)), pytest.raises(PermissionDenied) as caught:
        require(Scope.RUN)
    assert caught.value.reason == "SCOPE_MISSING"
    assert "'run'" in caught.value.remedy


def test_require_outside_of_a_call_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        require(Scope.READ)


def test_as_principal_restores_the_one_before() -> None:
    with as_principal(holder(Scope.READ)) as outer:
        with as_principal(holder(Scope.RUN)):
            pass
        assert current_principal() is outer


def test_require_run_of_a_bound_principal_allows_its_run_only() -> None:
    with as_principal(holder(Scope.INGEST, run_id="r1")):
        require_run("r1")
        with pytest.raises(PermissionDenied) as caught:
            require_run("r2")
    assert caught.value.reason == "OTHER_RUN"


def test_require_run_of_an_unbound_principal_allows_any_run() -> None:
    with as_principal(holder(Scope.READ)):
        assert require_run("r2").name == "someone"


async def test_principals_of_concurrent_tasks_do_not_mix() -> None:
    both_inside = asyncio.Barrier(2)

    async def work(name: str) -> str:
        with as_principal(Principal(name, "t", frozenset())):
            await both_inside.wait()
            return current_principal().name

    assert list(await asyncio.gather(work("a"), work("b"))) == ["a", "b"]
