"""Clusters of failures that nothing explains, as rows: replicas count in the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autopack_kit.db import insert
from sqlalchemy import Connection, Row, and_, delete, func, or_, select, text, update

from autopack_hardening.adapters.tables import CLUSTERS
from autopack_hardening.core.templates import (
    MAX_EXAMPLES,
    MAX_PROGRAMS,
    Cluster,
    Example,
    Unexplained,
    best_of,
    bucket_of,
    cluster_id,
    merged,
)

__all__ = ["MAX_CLUSTERS", "forget", "note", "page"]

MAX_CLUSTERS = 500
"""Of a tenant; the smallest and oldest make room. Some 15 KB each at most."""


def note(connection: Connection, tenant: str, failure: Unexplained, now: int) -> None:
    """Counts ``failure`` in the cluster that it is like, or in a new one."""
    if connection.dialect.name == "postgresql":
        # Two replicas that meet the same failure at once would begin a cluster each. SQLite has one writer anyway.
        key = f"autopack:clusters:{tenant}"
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
    bucket = bucket_of(failure.words)
    query = select(CLUSTERS).where(CLUSTERS.c.tenant == tenant, CLUSTERS.c.bucket == bucket).order_by(CLUSTERS.c.id)
    known = [_cluster(row) for row in connection.execute(query)]
    found = best_of([one.words for one in known], failure.words)
    if found is not None:
        _add(connection, tenant, known[found], failure, now)
        return
    id_ = cluster_id(failure.words)
    row = {
        "tenant": tenant,
        "id": id_,
        "bucket": bucket,
        "words": json.dumps(failure.words),
        "met": 1,
        "first_at": now,
        "last_at": now,
        "programs": json.dumps([failure.program] if failure.program else []),
        "examples": _examples([failure.example]),
    }
    # A cluster that these words began may have moved on to a wider template, which they are not like any more.
    statement = insert(connection, CLUSTERS).on_conflict_do_update(
        index_elements=[CLUSTERS.c.tenant, CLUSTERS.c.id], set_={"met": CLUSTERS.c.met + 1, "last_at": now}
    )
    connection.execute(statement, [row])
    _evict(connection, tenant, id_)


def page(connection: Connection, tenant: str, after: tuple[int, str] | None, limit: int) -> list[Cluster]:
    """Clusters by count, then by id."""
    query = select(CLUSTERS).where(CLUSTERS.c.tenant == tenant)
    if after is not None:
        count, id_ = after
        query = query.where(or_(CLUSTERS.c.met < count, and_(CLUSTERS.c.met == count, CLUSTERS.c.id > id_)))
    query = query.order_by(CLUSTERS.c.met.desc(), CLUSTERS.c.id).limit(limit)
    return [_cluster(row) for row in connection.execute(query)]


def forget(connection: Connection, tenant: str, cluster_ids: Sequence[str]) -> None:
    """Drops clusters."""
    connection.execute(delete(CLUSTERS).where(CLUSTERS.c.tenant == tenant, CLUSTERS.c.id.in_(cluster_ids)))


def _add(connection: Connection, tenant: str, cluster: Cluster, failure: Unexplained, now: int) -> None:
    programs, examples = list(cluster.programs), list(cluster.examples)
    if failure.program and failure.program not in programs and len(programs) < MAX_PROGRAMS:
        programs.append(failure.program)
    if failure.example not in examples and len(examples) < MAX_EXAMPLES:
        examples.append(failure.example)
    statement = update(CLUSTERS).where(CLUSTERS.c.tenant == tenant, CLUSTERS.c.id == cluster.id)
    statement = statement.values(
        words=json.dumps(merged(cluster.words, failure.words)),
        met=CLUSTERS.c.met + 1,
        last_at=now,
        programs=json.dumps(programs),
        examples=_examples(examples),
    )
    connection.execute(statement)


def _evict(connection: Connection, tenant: str, newest: str) -> None:
    """``newest`` stays, else a full table would never learn anything new."""
    count = select(func.count()).select_from(CLUSTERS).where(CLUSTERS.c.tenant == tenant)
    surplus = connection.execute(count).scalar_one() - MAX_CLUSTERS
    if surplus > 0:
        others = select(CLUSTERS.c.id).where(CLUSTERS.c.tenant == tenant, CLUSTERS.c.id != newest)
        query = others.order_by(CLUSTERS.c.met, CLUSTERS.c.last_at, CLUSTERS.c.id).limit(surplus)
        forget(connection, tenant, list(connection.execute(query).scalars()))


def _examples(examples: Sequence[Example]) -> str:
    return json.dumps([[one.command, one.exit_code, one.output] for one in examples])


def _cluster(row: Row[Any]) -> Cluster:
    return Cluster(
        id=row.id,
        words=tuple(json.loads(row.words)),
        count=row.met,
        first_at=row.first_at,
        last_at=row.last_at,
        programs=tuple(json.loads(row.programs)),
        examples=tuple(Example(*one) for one in json.loads(row.examples)),
    )
