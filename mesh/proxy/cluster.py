"""One cluster as this proxy uses it: endpoints, balancer, circuit breaker, outlier detection and connections.

Configuration arrives by `update` and keeps the state of whatever stays. Does not carry requests: `http_exchange` does.
"""

from collections.abc import Iterable, Iterator

from structlog.typing import FilteringBoundLogger

from mesh.config.snapshot import Cluster
from mesh.model.randomness import Random
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import LoadBalancer, healthy_or_panic, make_balancer
from mesh.policy.outlier_detection import HostRecord, OutlierDetector
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import TLS_REASON, Resolution, UpstreamEndpoint, UpstreamPool, UpstreamSecurity
from mesh.runtime.environment import Reactor
from mesh.telemetry.metrics import ClusterStats

TLS_FAILURE_LOG_S = 60.0


class ClusterState:
    """The live state of one cluster. `balancer.pick` is on the request path; all else happens on changes and ticks."""

    def __init__(self, config: Cluster, *, reactor: Reactor, random: Random, log: FilteringBoundLogger) -> None:
        self.config = config
        self.stats = ClusterStats()
        self.breaker = CircuitBreaker(config.circuit_breaking)
        self.detector = OutlierDetector(config.outlier_detection) if config.outlier_detection else None
        self.pool = UpstreamPool(reactor, self.breaker, self.stats)
        self.endpoints: dict[str, UpstreamEndpoint] = {}
        self._reactor = reactor
        self._random = random
        self._log = log.bind(cluster=config.name)
        self.balancer: LoadBalancer[UpstreamEndpoint] | None = None  # None: there is no endpoint to use
        self._next_tick = 0.0
        self.panicking = False
        self._wanted: tuple[LocatedEndpoint, ...] | None = None  # None: never configured

    def update(self, config: Cluster, endpoints: tuple[LocatedEndpoint, ...], security: UpstreamSecurity) -> None:
        """Take new configuration; what is as before is left alone: turns of the balancer, state of endpoints that stay.

        Idle connections to endpoints that go are closed, and all when connections are to be protected otherwise.
        """
        if self.pool.use(security):
            for endpoint in self.endpoints.values():
                self.pool.close_idle(endpoint, since=self._reactor.now())
        if self._wanted is not None and config == self.config and endpoints == self._wanted:
            return
        if config.outlier_detection is None:
            self.detector = None
        elif self.detector is None:
            self.detector = OutlierDetector(config.outlier_detection)
        else:
            self.detector.replace_config(config.outlier_detection)
        self.config = config
        self._wanted = endpoints
        self.breaker.replace_limits(config.circuit_breaking)
        self.pool.connect_timeout_s = config.timeouts.connect_s
        self._replace_endpoints(endpoints)
        self._rebuild()

    def _replace_endpoints(self, wanted: Iterable[LocatedEndpoint]) -> None:
        kept: dict[str, UpstreamEndpoint] = {}
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

    def _new_endpoint(self, located: LocatedEndpoint) -> UpstreamEndpoint:
        address = located.address or located.endpoint.address
        state = UpstreamEndpoint(located.name, address, self._reactor, self._new_health(located.name))
        state.host = located.endpoint.address.host
        if located.address is None:
            state.resolution = Resolution(self._reactor)
        return state

    def _configure_endpoint(self, state: UpstreamEndpoint, located: LocatedEndpoint) -> None:
        endpoint = located.endpoint
        state.hostname = endpoint.hostname.encode()
        state.weight, state.priority = endpoint.weight, endpoint.priority
        state.health = self._new_health(located.name)
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

    def _new_health(self, name: str) -> HostRecord | None:
        return None if self.detector is None else self.detector.add_host(name)

    def _retire(self, state: UpstreamEndpoint) -> None:
        state.removed = True
        self.pool.close_idle(state, since=self._reactor.now())
        if self.detector is not None:
            self.detector.remove_host(state.name)

    def _rebuild(self) -> None:
        by_priority: dict[int, list[UpstreamEndpoint]] = {}
        for endpoint in self.endpoints.values():
            by_priority.setdefault(endpoint.priority, []).append(endpoint)
        levels = [by_priority[priority] for priority in sorted(by_priority)]
        usable = [level for level in levels if any(map(_usable, level))]
        # Of the first priority that has a usable endpoint; where none has, of the first of all. No panic while there is
        # a later one to go to, as in Envoy: its endpoints are better than those that are known to fail.
        panic_percent = self.config.load_balancing.panic_percent if len(usable) < 2 else 0.0
        selection = healthy_or_panic((usable or levels or [[]])[0], _usable, panic_percent)
        self.panicking = selection.panic
        hosts = selection.hosts
        self.balancer = make_balancer(self.config.load_balancing, hosts, self._random) if hosts else None

    def on_response(self, endpoint: UpstreamEndpoint, status: int) -> None:
        """Tell outlier detection how a try ended."""
        detector, health = self.detector, endpoint.health
        if detector is None or health is None:
            return
        if detector.on_response(health, status, self._reactor.now(), self._random):
            self._on_ejected(endpoint)

    def on_local_failure(self, endpoint: UpstreamEndpoint, kind: FailureKind, reason: str = "") -> None:
        """Tell outlier detection that a try got no response: could not connect, timed out or was reset.

        `reason`: what the connection broke with. What TLS objects to goes to the log, for an operator has to change it.
        """
        if reason.startswith(TLS_REASON):
            self._log_tls_failure(endpoint, reason)
        detector, health = self.detector, endpoint.health
        if detector is None or health is None:
            return
        if detector.on_local_failure(health, kind, self._reactor.now(), self._random):
            self._on_ejected(endpoint)

    def _log_tls_failure(self, endpoint: UpstreamEndpoint, reason: str) -> None:
        """Once when it begins and once a minute: every request of its clients may meet it."""
        now = self._reactor.now()
        known, logged_at = endpoint.tls_failure
        if reason != known or now >= logged_at + TLS_FAILURE_LOG_S:
            endpoint.tls_failure = (reason, now)
            self._log.warning("endpoint.tls_failed", endpoint=endpoint.name, address=endpoint.label, reason=reason)

    def on_connected(self, endpoint: UpstreamEndpoint) -> None:
        """Tell outlier detection that an opaque TCP connection was made: the only success that TCP shows."""
        if self.detector is not None and endpoint.health is not None:
            self.detector.on_connected(endpoint.health, final=True)

    def _on_ejected(self, endpoint: UpstreamEndpoint) -> None:
        self._log.info("endpoint.ejected", endpoint=endpoint.name, address=endpoint.label)
        self._rebuild()

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield (name, labels, value) of everything that is counted here, under Envoy's names."""
        yield from self.stats.samples()
        breaker = self.breaker
        yield "upstream_cx_active", {}, breaker.connections
        yield "upstream_rq_active", {}, breaker.requests
        yield "upstream_rq_pending_active", {}, breaker.pending_requests
        yield "upstream_cx_overflow", {}, breaker.connection_overflows
        yield "upstream_rq_pending_overflow", {}, breaker.pending_overflows + breaker.request_overflows
        yield "membership_total", {}, len(self.endpoints)
        yield "membership_healthy", {}, sum(map(_usable, self.endpoints.values()))
        if self.detector is not None:
            yield "outlier_detection_ejections_active", {}, self.detector.ejected_count
            yield "outlier_detection_ejections_overflow", {}, self.detector.overflows

    def tick(self, now: float) -> None:
        """Do what is due at `now`: return endpoints, judge success rates, close what has been idle too long."""
        if self.detector is not None and now >= self._next_tick:
            self._next_tick = now + self.detector.config.interval_s
            tick = self.detector.tick(now, self._random)
            for host in tick.returned:
                self._log.info("endpoint.returned", endpoint=host.name)
            for host in tick.ejected:
                self._log.info("endpoint.ejected", endpoint=host.name, detector=host.last_detector)
            if tick.returned or tick.ejected:
                self._rebuild()
        idle_s = self.config.timeouts.idle_s
        if idle_s:
            for endpoint in self.endpoints.values():
                self.pool.close_idle(endpoint, since=now - idle_s)

    def close(self) -> None:
        """The cluster is gone from the configuration: close what is idle; requests under way end by themselves."""
        for endpoint in self.endpoints.values():
            self._settle(endpoint, ())
            self._retire(endpoint)
        self.endpoints = {}
        self.balancer = None


def _usable(endpoint: UpstreamEndpoint) -> bool:
    if not endpoint.healthy or (endpoint.resolution is not None and endpoint.resolution.failed):
        return False
    return not (endpoint.health is not None and endpoint.health.ejected)
