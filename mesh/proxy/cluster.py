"""One cluster as this proxy uses it: endpoints, selector, circuit breaker, health checks, outlier detection, connections.

Configuration arrives by `update` and keeps the state of whatever stays. Does not carry requests: `http_exchange` does.
"""

import math
from collections.abc import Callable, Iterable, Iterator

from structlog.typing import FilteringBoundLogger

from mesh.config.snapshot import Cluster
from mesh.model.randomness import Random
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.failure import FailureKind
from mesh.policy.grpc_status import read_status, to_http
from mesh.policy.load_balancing import EndpointSelector
from mesh.policy.retry_budget import RateBudget, RetryBudget
from mesh.protocol.http1 import ResponseHead
from mesh.proxy.ejections import Ejections
from mesh.proxy.health_checker import HealthChecks
from mesh.proxy.health_probes import EXCLUDING
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import TLS_REASON, Resolution, UpstreamEndpoint, UpstreamPool, UpstreamSecurity
from mesh.runtime.environment import Reactor
from mesh.telemetry.metrics import ClusterStats, Sample

TLS_FAILURE_LOG_S = 60.0
REBUILT_AT_ONCE = 100  # endpoints
REBUILD_PAUSE_S = 1e-5  # per endpoint beyond those
ROUNDING_S = 1e-6  # A timer this much later is surely not before the moment that it is for.
_NONE_OMITTED: frozenset[int] = frozenset()


class ClusterState:
    """The live state of one cluster. `pick` and `on_response` are on the request path; all else happens on changes and ticks.

    `check_random` gives the chance for health checks, asked for once they are configured.
    """

    def __init__(
        self,
        config: Cluster,
        *,
        reactor: Reactor,
        random: Random,
        check_random: Callable[[], Random],
        log: FilteringBoundLogger,
    ) -> None:
        self.config = config
        self.stats = ClusterStats()
        self.breaker = CircuitBreaker(config.circuit_breaking)
        self.rate_budgets: dict[RetryBudget, RateBudget] = {}  # of the policies that retry here at a rate
        self.pool = UpstreamPool(reactor, self.breaker, self.stats)
        self.endpoints: dict[str, UpstreamEndpoint] = {}
        self.selector: EndpointSelector[UpstreamEndpoint] | None = None  # None: there is no endpoint at all
        self._reactor = reactor
        self._random = random
        self._log = log.bind(cluster=config.name)
        self._ejections = Ejections(reactor, random, log=self._log, on_change=self._reselect)
        self._checks = HealthChecks(
            self.pool,
            self.stats,
            reactor=reactor,
            random=check_random,
            log=self._log,
            on_change=self._on_check_changed,
            on_passed=lambda endpoint: self._ejections.on_check_passed(endpoint.health),
        )
        self._rebuilding = False  # a timer is pending that will
        self._rebuilt_at = -math.inf
        self._wanted: tuple[LocatedEndpoint, ...] | None = None  # None: never configured

    @property
    def panicking(self) -> bool:
        """Do requests go to endpoints that are known to be unwell, since too few are well?"""
        return self.selector is not None and self.selector.panicking

    def pick(
        self,
        request_hash: int | None = None,
        attempt: int = 0,
        omitted_priorities: frozenset[int] = _NONE_OMITTED,
    ) -> UpstreamEndpoint | None:
        """Return the endpoint for one try (see EndpointSelector.pick); None: answer 503, flag UH."""
        selector = self.selector
        if selector is None:
            return None
        return selector.pick(self._reactor.now(), request_hash, attempt, omitted_priorities)

    def update(self, config: Cluster, endpoints: tuple[LocatedEndpoint, ...], security: UpstreamSecurity) -> None:
        """Take new configuration; what is as before is left alone: turns of balancers, state of endpoints that stay.

        Idle connections to endpoints that go are closed, and all when connections are to be protected otherwise.
        """
        if self.pool.use(security):
            for endpoint in self.endpoints.values():
                self.pool.close_idle(endpoint, since=self._reactor.now())
        if self._wanted is not None and config == self.config and endpoints == self._wanted:
            return
        self._ejections.use(config.outlier_detection)
        self.config = config
        self._wanted = endpoints
        self.breaker.replace_limits(config.circuit_breaking)
        self.pool.connect_timeout_s = config.timeouts.connect_s
        self._replace_endpoints(endpoints)
        for endpoint in self.endpoints.values():
            self.pool.close_surplus(endpoint)
        self._checks.update(config, self.endpoints.values())
        self._rebuild()

    def _replace_endpoints(self, wanted: Iterable[LocatedEndpoint]) -> None:
        kept: dict[str, UpstreamEndpoint] = {}
        before = set(self.endpoints)
        for located in wanted:
            state = self.endpoints.pop(located.name, None)
            if state is not None and located.address not in (None, state.address):
                self._retire(state)
                state = None
            if state is None:
                state = self._new_endpoint(located)
            self._configure_endpoint(state, located)
            kept[located.name] = state
        for state in self.endpoints.values():
            self._settle(state, kept.values())
            self._retire(state)
        self.endpoints = kept
        self.stats.membership_changes += kept.keys() != before

    def _new_endpoint(self, located: LocatedEndpoint) -> UpstreamEndpoint:
        address = located.address or located.endpoint.address
        state = UpstreamEndpoint(located.name, address, self._reactor, self._ejections.watch(located.name))
        state.host = located.endpoint.address.host
        if located.address is None:
            state.resolution = Resolution(self._reactor)
        else:
            state.check_failed = bool(self.config.health_checks)  # Until it has passed one.
        return state

    def _configure_endpoint(self, state: UpstreamEndpoint, located: LocatedEndpoint) -> None:
        endpoint = located.endpoint
        state.hostname = endpoint.hostname.encode()
        state.weight, state.priority = endpoint.weight, endpoint.priority
        state.locality, state.locality_weight = endpoint.locality, endpoint.locality_weight
        state.tags = endpoint.tags
        state.health = self._ejections.watch(located.name)
        if located.lost and state.resolution is not None:
            state.resolution.fail()
        if state.healthy and not endpoint.healthy:
            # A draining instance closes soon: no idle connection may be left that a request could still take.
            self.pool.close_idle(state, since=self._reactor.now())
        state.healthy = endpoint.healthy

    def _settle(self, leaving: UpstreamEndpoint, arrived: Iterable[UpstreamEndpoint]) -> None:
        """Tell the requests that wait for a name which address it has; none when the endpoint is gone altogether."""
        if leaving.resolution is None:
            return
        for state in arrived:
            if (state.host, state.address.port) == (leaving.host, leaving.address.port) and state.resolution is None:
                leaving.resolution.succeed(state.address)
                return
        leaving.resolution.fail()

    def _retire(self, state: UpstreamEndpoint) -> None:
        state.removed = True
        self.pool.close_idle(state, since=self._reactor.now())
        self._ejections.forget(state.name)

    def _rebuild(self) -> None:
        config, now = self.config.load_balancing, self._reactor.now()
        self._rebuilding, self._rebuilt_at = False, now
        # Whoever wants to be left alone is, even in a panic; not all of them, or nobody would be left to ask.
        hosts = [endpoint for endpoint in self.endpoints.values() if not endpoint.excluded]
        hosts = hosts or list(self.endpoints.values())
        if config.slow_start is not None:
            for endpoint in hosts:
                if endpoint.healthy_since == -math.inf and _usable(endpoint):
                    endpoint.healthy_since = now
        self.selector = (
            EndpointSelector(config, hosts, _usable, self._random, now=now, previous=self.selector) if hosts else None
        )

    def _reselect(self) -> None:
        """Rebuild for a change of health: at once, in large clusters soon, together with what changes until then.

        It costs 5 ms at 10,000 endpoints, whose first checks all end within seconds; so it may take a twentieth of the time.
        """
        if self._rebuilding:
            return
        due = self._rebuilt_at + REBUILD_PAUSE_S * max(len(self.endpoints) - REBUILT_AT_ONCE, 0)
        if due <= self._reactor.now():
            self._rebuild()
        else:
            self._rebuilding = True
            self._reactor.call_at(due, self._rebuild_if_due)

    def _rebuild_if_due(self) -> None:
        if self._rebuilding:
            self._rebuild()

    def on_response(self, endpoint: UpstreamEndpoint, status: int, head: ResponseHead | None = None) -> None:
        """Tell outlier detection and health checks how a try ended. A gRPC status counts as the HTTP status that it means."""
        detector, health = self._ejections.detector, endpoint.health
        if head is not None and self._checks.checks and head.header(EXCLUDING) is not None:
            self._checks.fail(endpoint)
        if detector is None or health is None:
            return
        told = None if head is None else head.header(b"grpc-status")
        if told and (grpc_status := read_status(told)) is not None:
            status = to_http(grpc_status)
        if detector.on_response(health, status, self._reactor.now(), self._random):
            self._ejections.note(health)

    def on_latency(
        self, endpoint: UpstreamEndpoint, seconds: float, failed: bool, retry_after_s: float | None = None
    ) -> None:
        """Tell the balancer how long a try took to its answer, or to its failure; only some balancers listen."""
        latency = endpoint.latency
        if latency is None:
            return
        if failed:
            latency.record_failure(seconds, self._reactor.now(), retry_after_s)
        else:
            latency.record(seconds, self._reactor.now())

    def fail_health_check(self, endpoint: UpstreamEndpoint) -> None:
        """Take an endpoint for failed at once, as if a check had found it so. Nothing happens without checks."""
        self._checks.fail(endpoint)

    def _on_check_changed(self, endpoint: UpstreamEndpoint) -> None:
        if endpoint.check_failed:
            self.pool.close_idle(endpoint, since=self._reactor.now())
        else:
            endpoint.healthy_since = self._reactor.now()
        self._reselect()

    def on_local_failure(self, endpoint: UpstreamEndpoint, kind: FailureKind, reason: str = "") -> None:
        """Tell outlier detection that a try got no response: could not connect, timed out or was reset.

        `reason`: what the connection broke with. What TLS objects to goes to the log, for an operator has to change it.
        """
        if reason.startswith(TLS_REASON):
            self._log_tls_failure(endpoint, reason)
        detector, health = self._ejections.detector, endpoint.health
        if detector is None or health is None:
            return
        if detector.on_local_failure(health, kind, self._reactor.now(), self._random):
            self._ejections.note(health)

    def _log_tls_failure(self, endpoint: UpstreamEndpoint, reason: str) -> None:
        """Once when it begins and once a minute: every request of its clients may meet it."""
        now = self._reactor.now()
        known, logged_at = endpoint.tls_failure
        if reason != known or now >= logged_at + TLS_FAILURE_LOG_S:
            endpoint.tls_failure = (reason, now)
            self._log.warning("endpoint.tls_failed", endpoint=endpoint.name, address=endpoint.label, reason=reason)

    def on_connected(self, endpoint: UpstreamEndpoint) -> None:
        """Tell outlier detection that an opaque TCP connection was made: the only success that TCP shows."""
        detector, health = self._ejections.detector, endpoint.health
        if detector is not None and health is not None:
            detector.on_connected(health, final=True)

    def samples(self) -> Iterator[Sample]:
        """Yield (name, labels, value) of everything that is counted here, under Envoy's names."""
        yield from self.stats.samples()
        breaker = self.breaker
        yield "upstream_cx_active", {}, breaker.connections
        yield "upstream_cx_destroy", {}, self.stats.connections_total - breaker.connections
        yield "upstream_rq_active", {}, breaker.requests
        yield "upstream_rq_pending_active", {}, breaker.pending_requests
        yield "upstream_cx_overflow", {}, breaker.connection_overflows
        yield "upstream_rq_pending_overflow", {}, breaker.pending_overflows
        yield "upstream_rq_active_overflow", {}, breaker.request_overflows
        yield "membership_total", {}, len(self.endpoints)
        yield "membership_healthy", {}, sum(map(_usable, self.endpoints.values()))
        if self.selector is not None:
            yield "lb_healthy_panic", {}, self.selector.panic_picks
        for name, value in breaker.gauges():
            yield f"circuit_breakers.default.{name}", {}, value
        if self._ejections.detector is not None:
            for name, value in self._ejections.detector.counters():
                yield f"outlier_detection.{name}", {}, value
        yield from self._checks.samples()

    def stop_checks(self) -> None:
        """Ask endpoints no more how they are: the sidecar ends. All else goes on."""
        self._checks.close()

    def tick(self, until: float) -> None:
        """Close what has been idle too long, and up to the next tick at `until` whatever will have been, at its moment.

        To the moment, because the limit is often set just below a server's: a connection that lives on for another second
        is closed by the server while a request is on its way.
        """
        idle_s = self.config.timeouts.idle_s
        if not idle_s:
            return
        now, due = self._reactor.now(), until
        for endpoint in self.endpoints.values():
            self.pool.close_idle(endpoint, since=now - idle_s)
            if endpoint.idle:
                due = min(due, endpoint.idle[0].idle_since + idle_s)
        if due < until:
            self._reactor.call_at(due + ROUNDING_S, lambda: self.tick(until))

    def close(self) -> None:
        """The cluster is gone from the configuration: close what is idle; requests under way end by themselves."""
        self._checks.close()
        self._ejections.use(None)
        for endpoint in self.endpoints.values():
            self._settle(endpoint, ())
            self._retire(endpoint)
        self.endpoints = {}
        self.selector = None


def _usable(endpoint: UpstreamEndpoint) -> bool:
    if (
        not endpoint.healthy
        or endpoint.check_failed
        or (endpoint.resolution is not None and endpoint.resolution.failed)
    ):
        return False
    return not (endpoint.health is not None and endpoint.health.ejected)
