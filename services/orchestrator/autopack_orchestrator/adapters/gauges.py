"""What the orchestrator tells Prometheus: how many runs wait, and how many are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog
from autopack_kit.db import Database
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autopack_orchestrator.adapters import queries

__all__ = ["show"]

SCRAPE_SECONDS = 5.0
"""Time for the database to answer; Prometheus itself waits ten."""

_log = structlog.get_logger("autopack.orchestrator")


class _Runs(Collector):
    """Asks the database at each scrape: it is right after a restart, and with many workers on one database."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """On the thread of the scrape. Without an answer there is no sample, rather than an old one."""
        asked = asyncio.run_coroutine_threadsafe(self._database.read(queries.unfinished), self._loop)
        try:
            found = asked.result(SCRAPE_SECONDS)
        except Exception as error:
            _log.warning("runs not counted", error=str(error))
            return
        family = GaugeMetricFamily(
            "autopack_orchestrator_runs", "Runs that have not ended, as the database has them.", labels=["state"]
        )
        for state, count in found.items():
            family.add_metric([state], count)
        yield family


def show(registry: CollectorRegistry, database: Database) -> None:
    """Adds the runs to what the server of this event loop tells."""
    registry.register(_Runs(database, asyncio.get_running_loop()))
