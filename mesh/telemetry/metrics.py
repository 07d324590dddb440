"""Counters and histograms of one proxy under Envoy's names, kept as plain numbers.

Source: Envoy docs configuration/upstream/cluster_manager/cluster_stats. Text form: Prometheus exposition format 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

# Upper bounds in milliseconds, as Envoy's default histogram buckets.
TIME_BUCKETS_MS = (
    0.5,
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10000,
    30000,
    60000,
    300000,
    600000,
    1800000,
    3600000,
)


class Histogram:
    """Counts of spans by bucket; the last bucket is everything above."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(TIME_BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, span_ms: float) -> None:
        """Count one span."""
        self.counts[bisect_left(TIME_BUCKETS_MS, span_ms)] += 1
        self.sum_ms += span_ms


class ClusterStats:
    """What happened towards one cluster."""

    __slots__ = (
        "connect_fail",
        "connections_total",
        "per_try_timeouts",
        "requests_by_status",
        "retry",
        "retry_limit_exceeded",
        "retry_overflow",
        "retry_success",
        "time_ms",
        "timeouts",
    )

    def __init__(self) -> None:
        self.requests_by_status: dict[int, int] = {}
        self.connections_total = 0
        self.connect_fail = 0
        self.timeouts = 0
        self.per_try_timeouts = 0
        self.retry = 0
        self.retry_success = 0
        self.retry_overflow = 0
        self.retry_limit_exceeded = 0
        self.time_ms = Histogram()

    def complete(self, status: int, time_ms: float) -> None:
        """Count a request that has ended; status 0: the client went away before an answer."""
        counts = self.requests_by_status
        counts[status] = counts.get(status, 0) + 1
        self.time_ms.add(time_ms)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield (name, labels, value) under Envoy's names."""
        yield "upstream_rq_completed", {}, sum(self.requests_by_status.values())
        for status in sorted(self.requests_by_status):
            yield "upstream_rq", {"envoy_response_code": str(status)}, self.requests_by_status[status]
        yield "upstream_cx_total", {}, self.connections_total
        yield "upstream_cx_connect_fail", {}, self.connect_fail
        yield "upstream_rq_timeout", {}, self.timeouts
        yield "upstream_rq_per_try_timeout", {}, self.per_try_timeouts
        yield "upstream_rq_retry", {}, self.retry
        yield "upstream_rq_retry_success", {}, self.retry_success
        yield "upstream_rq_retry_overflow", {}, self.retry_overflow
        yield "upstream_rq_retry_limit_exceeded", {}, self.retry_limit_exceeded
        total = 0
        for bound, count in zip((*map(str, TIME_BUCKETS_MS), "+Inf"), self.time_ms.counts, strict=True):
            total += count
            yield "upstream_rq_time_bucket", {"le": bound}, total
        yield "upstream_rq_time_sum", {}, self.time_ms.sum_ms
        yield "upstream_rq_time_count", {}, total


def exposition(samples: Iterable[tuple[str, dict[str, str], float]]) -> str:
    """Write samples as Prometheus text."""
    lines = []
    for name, labels, value in samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
