"""Figures of a server in Prometheus' text format."""

import threading
from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by route and status, their times, and how many are under way. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._under_way = 0

    def count(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            self._requests[route, int(status)] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]
            for bound in BUCKETS:
                self._buckets[route, bound] += seconds <= bound

    def enter(self) -> None:
        """A search or a request for embeddings begins."""
        with self._lock:
            self._under_way += 1

    def leave(self) -> None:
        """It ends."""
        with self._lock:
            self._under_way -= 1

    def text(self, more: Mapping[str, float]) -> str:
        """All figures, and `more` by name."""
        with self._lock:
            lines = ["# TYPE customir_requests_total counter"]
            lines += [
                f'customir_requests_total{{route="{route}",status="{status}"}} {number}'
                for (route, status), number in sorted(self._requests.items())
            ]
            lines.append("# TYPE customir_request_seconds histogram")
            for route, seconds in sorted(self._seconds.items()):
                total = sum(n for (name, _), n in self._requests.items() if name == route)
                name = "customir_request_seconds"
                lines += [
                    f'{name}_bucket{{route="{route}",le="{bound}"}} {self._buckets[route, bound]}'
                    for bound in BUCKETS
                ]
                lines += [
                    f'{name}_bucket{{route="{route}",le="+Inf"}} {total}',
                    f'{name}_sum{{route="{route}"}} {seconds}',
                    f'{name}_count{{route="{route}"}} {total}',
                ]
            lines += [
                "# TYPE customir_requests_under_way gauge",
                f"customir_requests_under_way {self._under_way}",
            ]
        for name, value in more.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
