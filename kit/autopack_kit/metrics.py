"""What a server counts about itself, as Prometheus reads it; named as prometheus.io/docs/practices/naming asks.

Each server has a registry of its own, because several run in one process in tests. No label is ever a run, a phase, a
session or anything else that a caller makes up: each new value would stay in memory for good. This module needs
prometheus-client, which comes with the extra ``telemetry``: import it only where metrics are read.
"""

from __future__ import annotations

import platform
from importlib import metadata

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

__all__ = ["CONTENT_TYPE", "CallMetrics", "new_registry", "render"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Media type of :func:`render`."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds of a call's duration: from an answer out of memory to the default deadline."""


def new_registry() -> CollectorRegistry:
    """A registry with what every server tells: its version, and what its process uses."""
    registry = CollectorRegistry()
    info = Gauge("autopack_build_info", "Always 1; the labels say what runs.", ("version", "python"), registry=registry)
    info.labels(_version(), platform.python_version()).set(1)
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Everything in the registry, as Prometheus reads it."""
    return generate_latest(registry)


class CallMetrics:
    """Counts calls and requests. One is counted in some 6 microseconds, after its answer has gone out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("autopack_rpc_calls", "Calls answered.", ("service", "method", "code"), registry=registry)
        self._seconds = Histogram(
            "autopack_rpc_duration_seconds",
            "Time from a call's start to its answer.",
            ("service", "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "autopack_http_requests", "Requests answered at the HTTP port.", ("path", "status"), registry=registry
        )
        self._request_seconds = Histogram(
            "autopack_http_request_duration_seconds",
            "Time from a request's start to its answer.",
            ("path",),
            buckets=SECONDS,
            registry=registry,
        )
        self._known: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def call(self, method: str, code: str, seconds: float) -> None:
        """One RPC. Only methods that exist and gRPC's codes get here, so the number of series is bounded."""
        known = self._known.get((method, code))
        if known is None:
            service, _, name = method.strip("/").rpartition("/")
            known = self._calls.labels(service, name, code), self._seconds.labels(service, name)
            self._known[(method, code)] = known
        known[0].inc()
        known[1].observe(seconds)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One HTTP request; ``path`` is that of the route, empty for none."""
        known = path or "other"
        self._requests.labels(known, str(status)).inc()
        self._request_seconds.labels(known).observe(seconds)


def _version() -> str:
    try:
        return metadata.version("autopack")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
