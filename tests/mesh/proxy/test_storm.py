"""Storm: a sidecar with everything switched on, among clients and servers that end in every way, while its configuration changes.

Afterwards nothing is held: no place, no connection, no pump; nothing has crashed, each request left one record with one
outcome, and no client got another's answer.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import attrs
import pytest
import structlog
import trio

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    Mirror,
    OutboundListener,
    Part,
    Route,
    Snapshot,
)
from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.routing import (
    HeaderChanges,
    PathMatch,
    PathMatchKind,
    PathRewrite,
    Redirect,
    Rewrite,
    RouteMatch,
)
from mesh.policy.timeout import Timeouts
from mesh.proxy.cluster import ClusterState
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import UpstreamEndpoint
from mesh.runtime.reactor import EpollReactor
from tests.mesh.proxy.laboratory import Lab, free_port, with_sidecar
from tests.mesh.proxy.storm_actors import StormyClient, StormyServer

STORM_S = 2.5
SETTLE_S = 2.0  # Longer than any span below, and than a close lingers.
CLIENTS = 16
PATHS = (b"/hash", b"/hedge", b"/mirror", b"/retry", b"/rewrite/x", b"/redirect", b"/split", b"/nowhere")
Servers = dict[str, Sequence[StormyServer]]


@attrs.define(eq=False)
class Remembered:
    """All clusters and endpoints that there have been, those that are gone among them."""

    clusters: list[ClusterState] = attrs.Factory(list)
    endpoints: list[UpstreamEndpoint] = attrs.Factory(list)


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> Remembered:
    memory = Remembered()
    begin, add = ClusterState.__init__, ClusterState._new_endpoint

    def begin_remembered(self: ClusterState, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        memory.clusters.append(self)

    def add_remembered(self: ClusterState, located: LocatedEndpoint) -> UpstreamEndpoint:
        memory.endpoints.append(add(self, located))
        return memory.endpoints[-1]

    monkeypatch.setattr(ClusterState, "__init__", begin_remembered)
    monkeypatch.setattr(ClusterState, "_new_endpoint", add_remembered)
    return memory


def routes(random: Random) -> tuple[Route, ...]:
    timeouts = Timeouts(
        request_s=random.choice([0.2, 0.6, 0.0]),
        stream_idle_s=0.5,
        stream_s_max=random.choice([0.0, 0.4]),
        request_headers_s=0.1,
        connection_s_max=random.choice([0.0, 0.3]),
        idle_s=0.5,
    )
    retry = RetryPolicy(
        retries_max=3,
        conditions=(RetryOn.SERVER_ERROR, RetryOn.RESET, RetryOn.ENVOY_RATELIMITED),
        per_try_timeout_s=0.05,
        backoff_base_s=0.005,
        backoff_s_max=0.02,
        budget=random.choice([None, RetryBudget(), RetryBudget(rate_per_s_min=5)]),
    )
    hedging = attrs.evolve(retry, hedge_on_per_try_timeout=True, per_try_timeout_s=0.02)

    def route(name: str, *backends: str, retry: RetryPolicy = retry, **fields: Any) -> Route:
        return Route(
            name=name,
            match=RouteMatch(path=PathMatch(value=f"/{name}")),
            backends=tuple(Backend(cluster=cluster) for cluster in backends),
            timeouts=timeouts,
            retry=retry,
            **fields,
        )

    copies = (Mirror(cluster="m", percent=50.0), Mirror(cluster="a", percent=30.0))
    return (
        route("hash", "a", hash_policies=(HashPolicy(source=HashSource.COOKIE, name="user", cookie_ttl_s=60.0),)),
        route("hedge", "a", retry=hedging, mirrors=copies),
        route("mirror", "b", mirrors=copies),
        route("retry", "b", response_headers=(HeaderChanges(set=(("x-set", "1"),), remove=("date",)),)),
        route("rewrite", "b", rewrite=Rewrite(hostname="other", path=PathRewrite(value="/y", prefix=True))),
        route("redirect", redirect=Redirect(hostname="elsewhere")),
        route("split", "a", "b", "", retry=hedging),
    )


def cluster(random: Random, name: str, servers: Sequence[StormyServer], limits: CircuitBreakingLimits) -> list[Part]:
    gone = random.choice([0.0, 0.0, 0.3, 1.0])
    endpoints = [
        Endpoint(
            name=f"{name}-{index}",
            address=server.address,
            priority=random.choice([0, 0, 1]),
            healthy=random.random() > 0.1,
        )
        for index, server in enumerate(servers)
        if random.random() >= gone
    ]
    check = HealthCheck(
        kind=HealthCheckKind.HTTP, interval_s=0.05, timeout_s=0.1, unhealthy_threshold=2, no_traffic_interval_s=0.05
    )
    outliers = OutlierDetection(
        interval_s=0.1, base_ejection_s=0.1, consecutive_5xx=3, ejection_percent_max=60, ejection_s_max=0.2
    )
    return [
        Cluster(
            name=name,
            protocol=Protocol.HTTP,
            load_balancing=LoadBalancing(balancer=random.choice(list(Balancer)), table_size=1009),
            circuit_breaking=limits,
            health_checks=random.choice([(), (check,)]),
            outlier_detection=outliers,
            timeouts=Timeouts(connect_s=0.5, idle_s=random.choice([0.0, 0.05])),
        ),
        ClusterEndpoints(cluster=name, endpoints=tuple(endpoints)),
    ]


def configuration(random: Random, ports: tuple[int, int], servers: Servers) -> list[Part]:
    limits = CircuitBreakingLimits(
        connections_max=random.choice([3, 6, 100]),
        pending_requests_max=random.choice([2, 10]),
        requests_max=random.choice([4, 20]),
    )
    parts = [part for name in servers for part in cluster(random, name, servers[name], limits)]
    fault = Fault(
        abort=Abort(status=555, percent=10.0),
        delay=Delay(delay_s=0.03, percent=20.0),
        response_bandwidth=ResponseBandwidth(bytes_per_s=5_000_000.0, percent=20.0),
    )
    listed = routes(random)
    out, inbound = (Address("127.0.0.1", port) for port in ports)
    return [
        *parts,
        InboundListener(
            name="in",
            address=inbound,
            application=servers["a"][0].address,
            protocol=Protocol.HTTP,
            tls_mode=TlsMode.OFF,
            permissions=None,
            timeouts=listed[0].timeouts,
            circuit_breaking=limits,
            rate_limits=(CallerRateLimit(limit=RateLimit(rate=Rate(count=random.choice([5, 1000]), interval_s=0.1))),),
            connection_rate=Rate(count=1000, interval_s=0.1),
            faults=(fault,),
        ),
        OutboundListener(name="out", address=out, protocol=Protocol.HTTP, routes=listed),
    ]


async def change(lab: Lab, random: Random, ports: tuple[int, int], servers: Servers, until: float) -> None:
    """Apply one configuration after the other, some of them unusable."""
    bad = RouteMatch(path=PathMatch(kind=PathMatchKind.REGULAR_EXPRESSION, value="("))
    while trio.current_time() < until:
        await trio.sleep(0.3 * random.random())
        parts = configuration(random, ports, servers)
        if random.random() < 0.2:
            outbound = parts[-1]
            assert isinstance(outbound, OutboundListener)
            parts[-1] = attrs.evolve(outbound, routes=(*outbound.routes, Route(name="bad", match=bad)))
            before = lab.sidecar.snapshot, dict(lab.sidecar.clusters), dict(lab.sidecar.listeners)
            with pytest.raises(ConfigError):
                lab.sidecar.apply(Snapshot.of(*parts))
            assert before == (lab.sidecar.snapshot, lab.sidecar.clusters, lab.sidecar.listeners)
        else:
            lab.sidecar.apply(Snapshot.of(*parts))


def check_nothing_is_held(lab: Lab, memory: Remembered) -> None:
    for state in memory.clusters:
        breaker = state.breaker
        assert (breaker.requests, breaker.pending_requests, breaker.retries) == (0, 0, 0), state.config.name
        assert breaker.connections == sum(len(endpoint.idle) for endpoint in state.endpoints.values())
    for endpoint in memory.endpoints:
        assert (endpoint.active, endpoint.connections, len(endpoint.waiting)) == (0, len(endpoint.idle), 0)
    assert lab.sidecar.drain_state.in_flight == 0
    for listener in lab.sidecar.listeners.values():
        assert listener.stats.connections_active == 0
        faults = listener.http_plan.faults
        assert faults is None or faults.injector.counts.active == 0
    assert isinstance(lab.env.reactor, EpollReactor)
    assert {pump.name for pump in lab.env.reactor._pumps if not pump.name.startswith("health-check ")} == set()


@pytest.mark.parametrize(("seed", "draining"), [(1, False), (2, False), (3, True)])
def test_after_a_storm_nothing_is_held(tmp_path: Any, remembered: Remembered, seed: int, draining: bool) -> None:
    random = Random(seed)
    servers: Servers = {name: [StormyServer(random) for _ in range(3)] for name in "abm"}
    inbound = free_port()

    async def body(lab: Lab) -> None:
        ports, until = (lab.port, inbound), trio.current_time() + STORM_S
        clients = [StormyClient(Random(f"{seed} {n}"), f"c{n:02}", ports, PATHS) for n in range(CLIENTS)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change, lab, random, ports, servers, until)
            for client in clients:
                nursery.start_soon(client.run, lambda: trio.current_time() >= until)
            if draining:
                await trio.sleep(0.8 * STORM_S)
                await lab.sidecar.drain()
        await trio.sleep(SETTLE_S)
        check_nothing_is_held(lab, remembered)
        assert [found for client in clients for found in client.mixed_up] == []
        asked = sum(listener.stats.requests_total for listener in lab.sidecar.listeners.values())
        assert len(lab.records) == asked > 100
        assert all(record.detail and record.ended_at >= record.started_at for record in lab.records)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for server in (server for group in servers.values() for server in group):
                await nursery.start(server.serve)
            await with_sidecar(tmp_path, lambda port: configuration(random, (port, inbound), servers), body)
            nursery.cancel_scope.cancel()

    with structlog.testing.capture_logs() as logs:
        trio.run(main)
    bad = [entry for entry in logs if entry["log_level"] == "error" and entry["event"] != "configuration.refused"]
    assert not bad
