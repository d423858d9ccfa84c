"""Metrics of the server for Prometheus."""

import os
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Of prometheus_client: the folder in which processes share their figures.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by route and status, their times, and embedded texts; safe for many threads.

    If the variable `SHARED_FOLDER` names a folder when this module is imported, `text` has the
    metrics of all processes that use that folder.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._requests = Counter(
            "customir_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "customir_request_seconds", "Time to answer.", ["route"],
            buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self.under_way = Gauge(
            "customir_requests_under_way", "Searches and embeddings being answered.",
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.batches = Counter(
            "customir_embedding_batches", "Calls of the model.", registry=registry
        )
        self.texts = Counter("customir_embedded_texts", "Texts embedded.", registry=registry)
        started = Gauge(
            "customir_start_time_seconds", "Unix time of the start.",
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip
        started.set(time.time())
        if SHARED_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        self._registry = registry

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
