"""Counters and histograms of one proxy under Envoy's names, kept as plain numbers; sums are made when somebody reads.

Source: Envoy docs configuration/upstream/cluster_manager/cluster_stats, configuration/http/http_conn_man/stats,
configuration/listeners/stats. How they are written stands in `mesh.telemetry.stats_text`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

import attrs

Sample = tuple[str, dict[str, str], int]  # name, labels, value

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

    @property
    def count(self) -> int:
        """How many spans were counted."""
        return sum(self.counts)


@attrs.define(eq=False)
class ClusterStats:
    """What happened towards one cluster. Requests by status are final answers; every try counts in `requests_total`."""

    requests_by_status: dict[int, int] = attrs.field(factory=dict)
    retried_by_status: dict[int, int] = attrs.field(factory=dict)
    time_ms: Histogram = attrs.field(factory=Histogram)
    connect_ms: Histogram = attrs.field(factory=Histogram)
    requests_total: int = 0
    pending_total: int = 0
    timeouts: int = 0
    per_try_timeouts: int = 0
    per_try_idle_timeouts: int = 0
    max_duration_reached: int = 0
    retry: int = 0
    retry_success: int = 0
    retry_overflow: int = 0
    retry_limit_exceeded: int = 0
    retry_backoff_exponential: int = 0
    retry_backoff_ratelimited: int = 0
    replay_abandoned: int = 0
    rx_reset: int = 0
    tx_reset: int = 0
    cancelled: int = 0
    none_healthy: int = 0
    connections_total: int = 0
    connect_fail: int = 0
    connect_timeout: int = 0
    connect_attempts_exceeded: int = 0
    membership_changes: int = 0

    def samples(self) -> Iterator[Sample]:
        """Yield (name, labels, value) under Envoy's names."""
        yield from _by_status("upstream_rq", self.requests_by_status)
        yield "upstream_rq_completed", {}, _answered(self.requests_by_status)
        yield from _by_status("retry.upstream_rq", self.retried_by_status)
        yield "retry.upstream_rq_completed", {}, _answered(self.retried_by_status)
        for name, field in _CLUSTER_COUNTERS:
            yield name, {}, getattr(self, field)

    def histograms(self) -> Iterator[tuple[str, Histogram]]:
        """Yield (name, spans) under Envoy's names."""
        yield "upstream_rq_time", self.time_ms
        yield "upstream_cx_connect_ms", self.connect_ms


_CLUSTER_COUNTERS = (
    ("upstream_rq_total", "requests_total"),
    ("upstream_rq_pending_total", "pending_total"),
    ("upstream_rq_timeout", "timeouts"),
    ("upstream_rq_per_try_timeout", "per_try_timeouts"),
    ("upstream_rq_per_try_idle_timeout", "per_try_idle_timeouts"),
    ("upstream_rq_max_duration_reached", "max_duration_reached"),
    ("upstream_rq_retry", "retry"),
    ("upstream_rq_retry_success", "retry_success"),
    ("upstream_rq_retry_overflow", "retry_overflow"),
    ("upstream_rq_retry_limit_exceeded", "retry_limit_exceeded"),
    ("upstream_rq_retry_backoff_exponential", "retry_backoff_exponential"),
    ("upstream_rq_retry_backoff_ratelimited", "retry_backoff_ratelimited"),
    ("upstream_rq_rx_reset", "rx_reset"),
    ("upstream_rq_tx_reset", "tx_reset"),
    ("upstream_rq_cancelled", "cancelled"),
    ("retry_or_shadow_abandoned", "replay_abandoned"),
    ("upstream_cx_none_healthy", "none_healthy"),
    ("upstream_cx_total", "connections_total"),
    ("upstream_cx_connect_fail", "connect_fail"),
    ("upstream_cx_connect_timeout", "connect_timeout"),
    ("upstream_cx_connect_attempts_exceeded", "connect_attempts_exceeded"),
    ("membership_change", "membership_changes"),
)


@attrs.define(eq=False)
class ListenerStats:
    """What happened at one listener, and, where it speaks HTTP, to its requests."""

    connections_total: int = 0
    connections_active: int = 0
    connections_over_duration: int = 0
    connections_idle: int = 0  # closed since nothing was asked any more
    late_heads: int = 0  # requests whose head did not come in time
    requests_total: int = 0
    requests_by_status: dict[int, int] = attrs.field(factory=dict)  # of those that have ended; 0: the client left
    time_ms: Histogram = attrs.field(factory=Histogram)
    no_route: int = 0
    bytes_received: int = 0  # over opaque connections, as the next
    bytes_sent: int = 0
    direct_responses: int = 0  # of routes that answer by themselves, redirects among them

    def listener_samples(self) -> Iterator[Sample]:
        """Yield what Envoy counts for a listening address."""
        yield "downstream_cx_total", {}, self.connections_total
        yield "downstream_cx_active", {}, self.connections_active
        yield "downstream_cx_destroy", {}, self.connections_total - self.connections_active

    def tcp_samples(self) -> Iterator[Sample]:
        """Yield what Envoy's TCP proxy counts. Bytes are those of relays that have ended."""
        yield "downstream_cx_total", {}, self.connections_total
        yield "downstream_cx_no_route", {}, self.no_route
        yield "downstream_cx_rx_bytes_total", {}, self.bytes_received
        yield "downstream_cx_tx_bytes_total", {}, self.bytes_sent

    def http_samples(self) -> Iterator[Sample]:
        """Yield what Envoy's HTTP connection manager counts."""
        by_status = self.requests_by_status
        yield from self.listener_samples()
        yield "downstream_cx_idle_timeout", {}, self.connections_idle
        yield "downstream_cx_max_duration_reached", {}, self.connections_over_duration
        yield "downstream_rq_total", {}, self.requests_total
        yield "downstream_rq_http1_total", {}, self.requests_total
        yield "downstream_rq_active", {}, self.requests_total - sum(by_status.values())
        yield "downstream_rq_rx_reset", {}, by_status.get(0, 0)
        yield "downstream_rq_header_timeout", {}, self.late_heads
        yield from self.answer_samples()
        yield "no_route", {}, self.no_route
        yield "rq_direct_response", {}, self.direct_responses

    def answer_samples(self) -> Iterator[Sample]:
        """Yield how requests were answered: what Envoy counts for a connection manager, and once more for its listener."""
        yield "downstream_rq_completed", {}, _answered(self.requests_by_status)
        yield from _by_class("downstream_rq_xx", self.requests_by_status)

    def histograms(self) -> Iterator[tuple[str, Histogram]]:
        """Yield (name, spans) of its HTTP under Envoy's names."""
        yield "downstream_rq_time", self.time_ms


def count_completed(
    listener: ListenerStats, cluster: ClusterStats | None, status: int, span_ms: float, upstream_ms: float | None = None
) -> None:
    """Count a request that has ended; status 0: the client went away before an answer. One call, for every request.

    `upstream_ms`: from the request's last byte to the end of an upstream's answer. None: there was no such answer, and as
    in Envoy `upstream_rq_time` says nothing of the request.
    """
    counts = listener.requests_by_status
    counts[status] = counts.get(status, 0) + 1
    bucket = bisect_left(TIME_BUCKETS_MS, span_ms)
    times = listener.time_ms
    times.counts[bucket] += 1
    times.sum_ms += span_ms
    if cluster is not None:
        counts = cluster.requests_by_status
        counts[status] = counts.get(status, 0) + 1
        if upstream_ms is not None:
            times = cluster.time_ms
            times.counts[bucket if upstream_ms == span_ms else bisect_left(TIME_BUCKETS_MS, upstream_ms)] += 1
            times.sum_ms += upstream_ms


def _answered(by_status: Mapping[int, int]) -> int:
    return sum(count for status, count in by_status.items() if status)


def _by_status(name: str, by_status: Mapping[int, int]) -> Iterator[Sample]:
    """Yield a count for each status and each class of them."""
    for status in sorted(by_status):
        if status:
            yield name, {"envoy_response_code": str(status)}, by_status[status]
    yield from _by_class(f"{name}_xx", by_status)


def _by_class(name: str, by_status: Mapping[int, int]) -> Iterator[Sample]:
    for first in range(1, 6):
        count = sum(count for status, count in by_status.items() if status // 100 == first)
        yield name, {"envoy_response_code_class": str(first)}, count
