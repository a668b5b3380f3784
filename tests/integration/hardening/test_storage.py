"""What the service keeps, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from autopack_hardening.adapters import clusters, store
from autopack_hardening.adapters.store import MIGRATIONS, SqlStore
from autopack_hardening.adapters.tables import METADATA
from autopack_hardening.core.model import Ending
from autopack_hardening.core.outcomes import MitigationOutcome, OutcomeRecord, Success
from autopack_hardening.core.templates import Unexplained, unexplained
from autopack_kit.commands import Command
from autopack_kit.db import differences, migrate
from autopack_kit.db.testing import fresh_url
from autopack_kit.errors import Aborted, AlreadyExists, AutopackError, NotFound, ResourceExhausted


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    with fresh_url(request.param, tmp_path, "hardening") as fresh:
        yield fresh


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[list[SqlStore]]:
    """Two stores of one database."""
    opened = [await asyncio.to_thread(SqlStore.open, url) for _ in range(2)]
    yield opened
    for one in opened:
        await one.close()


def failure(line: str, program: str = "press") -> Unexplained:
    found = unexplained(Command.of(program), Ending(1), line.encode())
    assert found is not None
    return found


def test_the_revisions_make_the_tables(url: str) -> None:
    assert migrate(url, name="hardening", migrations=MIGRATIONS) == ("hardening_0001",)
    assert migrate(url, name="hardening", migrations=MIGRATIONS) == ()
    assert differences(url, name="hardening", metadata=METADATA) == []


async def test_a_pattern_is_changed_only_from_its_newest_revision(replicas: list[SqlStore]) -> None:
    one, other = replicas
    first = await one.create("t", "custom.a", "A", 1)
    assert await other.create("t", "custom.a", "A", 2) == first
    with pytest.raises(AlreadyExists):
        await other.create("t", "custom.a", "B", 2)
    second = await other.update("t", "custom.a", first, "Ä \U0001f527", 3)
    with pytest.raises(Aborted):
        await one.update("t", "custom.a", first, "C", 3)
    version, (kept,) = await one.patterns("t")
    assert (kept.definition, kept.revision) == ("Ä \U0001f527", second)
    assert version >= second > first
    assert await one.patterns("u") == (0, [])
    with pytest.raises(NotFound):
        await one.delete("u", "custom.a", 0)
    await one.delete("t", "custom.a", second)
    assert (await other.patterns("t"))[1] == []
    assert await other.version("t") > version
    assert await one.tenants(9) == []


async def test_of_many_who_change_a_pattern_at_once_one_wins(replicas: list[SqlStore]) -> None:
    revision = await replicas[0].create("t", "custom.a", "A", 1)
    calls = [replicas[number % 2].update("t", "custom.a", revision, f"by {number}", 2) for number in range(8)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, int) for one in done) == 1
    assert sum(isinstance(one, Aborted) for one in done) == 7


async def test_a_tenant_has_only_so_many_patterns(replicas: list[SqlStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_PATTERNS", 3)
    calls = [replicas[number % 2].create("t", f"custom.p{number}", "x", 1) for number in range(6)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, int) for one in done) == 3
    assert {type(one) for one in done if isinstance(one, AutopackError)} == {ResourceExhausted}
    await replicas[0].create("u", "custom.other", "x", 1)


async def test_an_outcome_is_counted_once_whoever_sends_it(replicas: list[SqlStore]) -> None:
    records = [
        OutcomeRecord(f"run/{number}", "py.x", outcome, "run")
        for number, outcome in enumerate([*MitigationOutcome, MitigationOutcome.FIXED])
    ]
    calls = [one.record("t", record, 5) for record in records for one in replicas]
    assert sum(await asyncio.gather(*calls)) == len(records)
    assert await replicas[0].successes("t", ["py.x", "py.y"]) == {"py.x": Success(2, 1, 1, 1, 5)}
    assert await replicas[0].successes("u", ["py.x"]) == {}


async def test_ids_of_outcomes_are_forgotten_after_a_while_and_counts_are_not(replicas: list[SqlStore]) -> None:
    (one, _), record = replicas, OutcomeRecord("r", "py.x", MitigationOutcome.WORSE)
    assert await one.record("t", record, 1)
    later = store.KEEP_OUTCOMES + 2
    assert await one.record("t", OutcomeRecord("s", "py.x", MitigationOutcome.FIXED), later)
    assert await one.record("t", record, later)
    assert (await one.successes("t", ["py.x"]))["py.x"] == Success(fixed=1, worse=2, last_at=later)


async def test_replicas_count_alike_failures_in_one_cluster(replicas: list[SqlStore]) -> None:
    lines = [f"cannot weld plate {name} to the frame" for name in ("left", "right", "upper", "left", "lower", "inner")]
    calls = [replicas[n % 2].note("t", failure(line, f"press{n}"), n) for n, line in enumerate(lines)]
    await asyncio.gather(*calls)
    (cluster,) = await replicas[0].clusters("t", None, 9)
    assert cluster.words == ("cannot", "weld", "plate", "<*>", "to", "the", "frame")
    assert (cluster.count, len(cluster.programs), len(cluster.examples)) == (6, 6, 3)
    assert (cluster.first_at, cluster.last_at) <= (5, 5)
    assert await replicas[0].clusters("u", None, 9) == []


async def test_the_smallest_and_oldest_clusters_make_room(
    replicas: list[SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "MAX_CLUSTERS", 3)
    one = replicas[0]
    for time, line in enumerate(
        ["often met", "once in a while", "seen one time only", "often met", "new thing", "last"]
    ):
        await one.note("t", failure(line), time)
    kept = [" ".join(found.words) for found in await one.clusters("t", None, 9)]
    assert kept[0] == "often met"
    assert set(kept) == {"often met", "new thing", "last"}
