"""Circuit breaking: limits on what one cluster may have open at once.

Pure counters; no time, no chance. Source: Envoy `config.cluster.v3.CircuitBreakers`,
source/common/upstream/resource_manager_impl.h (`canCreate: current < max`), source/common/conn_pool/conn_pool_base.cc.

The way of an HTTP request through them: no idle connection -> `admit_pending`, then `admit_connection` for a new one;
once it has its connection -> `release_pending`, `admit_request`; when the try has ended -> `release_request`. With an
idle connection only `admit_request` is asked. For opaque TCP `pending_requests_max` limits connections being made.
"""

from collections.abc import Iterator

import attrs


@attrs.frozen(kw_only=True)
class CircuitBreakingLimits:
    """Most that a cluster may hold at once. Defaults are Envoy's."""

    connections_max: int = 1024
    pending_requests_max: int = 1024
    requests_max: int = 1024
    retries_max: int = 3


@attrs.define(eq=False)
class CircuitBreaker:
    """What one cluster holds now, against its limits.

    Each `admit_*` that returned True is paid back by exactly one `release_*`. The `*_overflows` count refusals:
    Envoy's `upstream_cx_overflow`, `upstream_rq_pending_overflow`, `upstream_rq_active_overflow`, `upstream_rq_retry_overflow`.
    """

    limits: CircuitBreakingLimits = CircuitBreakingLimits()
    connections: int = attrs.field(default=0, init=False)
    pending_requests: int = attrs.field(default=0, init=False)
    requests: int = attrs.field(default=0, init=False)
    retries: int = attrs.field(default=0, init=False)
    connection_overflows: int = attrs.field(default=0, init=False)
    pending_overflows: int = attrs.field(default=0, init=False)
    request_overflows: int = attrs.field(default=0, init=False)
    retry_overflows: int = attrs.field(default=0, init=False)

    def gauges(self) -> Iterator[tuple[str, int]]:
        """Yield (name, value) under Envoy's names: what is exhausted (1) or not (0), and how many more may be had."""
        limits = self.limits
        for opened, remaining, held, most in (
            ("cx_open", "remaining_cx", self.connections, limits.connections_max),
            ("rq_open", "remaining_rq", self.requests, limits.requests_max),
            ("rq_pending_open", "remaining_pending", self.pending_requests, limits.pending_requests_max),
            ("rq_retry_open", "remaining_retries", self.retries, limits.retries_max),
        ):
            yield opened, int(held >= most)
            yield remaining, max(most - held, 0)

    def replace_limits(self, limits: CircuitBreakingLimits) -> None:
        """Apply new limits to what is open: a count above its new limit admits no more."""
        self.limits = limits

    @property
    def has_connections_to_spare(self) -> bool:
        """More connections are open than may be: the limit was lowered, or hosts took the one that each may have."""
        return self.connections > self.limits.connections_max

    def admit_request(self) -> bool:
        """Take a place for a try that is sent. False: answer 503, flag UO."""
        if self.requests < self.limits.requests_max:
            self.requests += 1
            return True
        self.request_overflows += 1
        return False

    def release_request(self) -> None:
        assert self.requests > 0, "a request was released that was not admitted"
        self.requests -= 1

    def admit_pending(self) -> bool:
        """Take a place in the queue for a connection. False: answer 503, flag UO."""
        if self.pending_requests < self.limits.pending_requests_max:
            self.pending_requests += 1
            return True
        self.pending_overflows += 1
        return False

    def release_pending(self) -> None:
        assert self.pending_requests > 0, "a pending request was released that was not admitted"
        self.pending_requests -= 1

    def admit_connection(self, *, first_of_host: bool = False) -> bool:
        """Take a place for a new connection. False: the request stays pending, which is no error.

        `first_of_host`: the chosen host has none, not even one being made. It may always have one, else requests would
        queue there with nobody to serve them; so the real bound is `connections_max` + hosts. It counts as an overflow too.
        """
        if self.connections >= self.limits.connections_max:
            self.connection_overflows += 1
            if not first_of_host:
                return False
        self.connections += 1
        return True

    def release_connection(self) -> None:
        assert self.connections > 0, "a connection was released that was not admitted"
        self.connections -= 1

    def admit_retry(self, retries_max: int | None = None) -> bool:
        """Take a place for a retry, in back-off or in flight. False: give up, flag UO.

        `retries_max`: a retry budget's limit of this moment, which replaces the one in `limits`.
        """
        if self.retries < (self.limits.retries_max if retries_max is None else retries_max):
            self.retries += 1
            return True
        self.retry_overflows += 1
        return False

    def release_retry(self) -> None:
        assert self.retries > 0, "a retry was released that was not admitted"
        self.retries -= 1
