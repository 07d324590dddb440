"""What each policy costs a request, in microseconds of CPU; and whether a pick and a route match stay flat.

Each policy is switched on alone over the same plain proxy, then all together, in short interleaved slices; the table shows
the median of the differences within a slice. Only the proxy's own code runs (see `treadmill`). The goal is 12 us for all
policies of a proxy together, access log included. Run `python -m tests.benchmarks policies`.
"""

import random
import statistics
import time
from collections.abc import Callable

import attrs

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    OutboundListener,
    Part,
    Route,
)
from mesh.model.names import Address, SpiffeId
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import MatchKind, PeerMatch, Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.fault_injection import Abort, Delay, Fault
from mesh.policy.host_selection import HostSelection
from mesh.policy.load_balancing import Balancer, EndpointSelector, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.route_table import RouteTable
from mesh.policy.routing import HeaderChanges, HeaderMatch, PathMatch, PathMatchKind, RouteMatch
from mesh.policy.timeout import CallerTimeouts, Timeouts
from mesh.protocol.http1 import RequestHead, RequestParser
from tests.benchmarks.treadmill import Runner, requests

CALLER = SpiffeId.parse("spiffe://mesh/caller")
PORT = 8000
REQUESTS = 2000
SLICE = 100
GOAL_US = 12.0

NO_TIMEOUTS = Timeouts(request_s=0.0, idle_s=0.0, stream_idle_s=0.0)
ALL_TIMEOUTS = Timeouts(request_headers_s=10.0, stream_s_max=600.0, connection_s_max=86_400.0)
RETRY = RetryPolicy(
    retries_max=3,
    conditions=(RetryOn.SERVER_ERROR, RetryOn.RESET, RetryOn.CONNECT_FAILURE),
    methods=("GET", "HEAD"),
    per_try_timeout_s=2.0,
    host_selection=HostSelection(omit_previous_hosts=True),
)
OUTLIERS = OutlierDetection(consecutive_5xx=5, success_rate_minimum_hosts=5, ejection_percent_max=50)
BY_HEADER = (HashPolicy(source=HashSource.HEADER, name="x-user"),)
CHANGES = (HeaderChanges(set=(("x-team", "core"),), add=(("x-seen", "1"),), remove=("accept-language",)),)


@attrs.frozen(kw_only=True)
class Outbound:
    """An outbound with what is switched on; nothing is."""

    route: RouteMatch = RouteMatch()
    routes: int = 1
    endpoints: int = 1
    retry: RetryPolicy = RetryPolicy()
    timeouts: Timeouts = NO_TIMEOUTS
    balancing: LoadBalancing = LoadBalancing(balancer=Balancer.ROUND_ROBIN)
    hash_policies: tuple[HashPolicy, ...] = ()
    outliers: OutlierDetection | None = None
    changes: tuple[HeaderChanges, ...] = ()
    backends: int = 1

    def parts(self) -> list[Part]:
        names = [f"c{index}" for index in range(self.backends)]
        addresses = [Address(f"10.0.{index // 250}.{index % 250 + 1}", 80) for index in range(self.endpoints)]
        endpoints = tuple(Endpoint(name=str(address), address=address) for address in addresses)
        last = Route(
            name="last",
            match=self.route,
            backends=tuple(Backend(cluster=name) for name in names),
            retry=self.retry,
            timeouts=self.timeouts,
            hash_policies=self.hash_policies,
            request_headers=self.changes,
            response_headers=self.changes,
        )
        others = (
            attrs.evolve(last, name=f"r{index}", match=RouteMatch(path=PathMatch(value=f"/other/{index}")))
            for index in range(self.routes - 1)
        )
        parts: list[Part] = [
            OutboundListener(
                name="out", address=Address("127.0.0.1", PORT), protocol=Protocol.HTTP, routes=(*others, last)
            )
        ]
        for name in names:
            parts.append(
                Cluster(
                    name=name,
                    protocol=Protocol.HTTP,
                    load_balancing=self.balancing,
                    outlier_detection=self.outliers,
                    circuit_breaking=CircuitBreakingLimits(),
                )
            )
            parts.append(ClusterEndpoints(cluster=name, endpoints=endpoints))
        return parts


PLAIN_INBOUND = InboundListener(
    name="in",
    address=Address("127.0.0.1", PORT),
    application=Address("127.0.0.1", 80),
    protocol=Protocol.HTTP,
    tls_mode=TlsMode.OFF,
    permissions=None,
    timeouts=NO_TIMEOUTS,
)
ANYBODY_OF_MESH = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://mesh/")
PERMISSIONS = Permissions(allow=(ANYBODY_OF_MESH,))
LIMITS = (CallerRateLimit(match=ANYBODY_OF_MESH, limit=RateLimit(rate=Rate(count=1_000_000_000, interval_s=1.0))),)
FAULTS = (Fault(match=ANYBODY_OF_MESH, abort=Abort(status=503, percent=0.0), delay=Delay(delay_s=1.0, percent=0.0)),)
BY_CALLER = (CallerTimeouts(match=ANYBODY_OF_MESH, timeouts=ALL_TIMEOUTS),)


@attrs.frozen(kw_only=True)
class Subject:
    """One row of the table: a proxy, and whose difference to which plain one it is."""

    name: str
    runner: Runner
    plain: str


def subjects() -> list[Subject]:
    """Return the plain proxies, each policy alone, and all together."""
    plain = Outbound()
    everything = Outbound(
        route=RouteMatch(headers=(HeaderMatch(name="accept", value="application/json"),)),
        routes=20,
        endpoints=10,
        retry=RETRY,
        timeouts=ALL_TIMEOUTS,
        balancing=LoadBalancing(),
        outliers=OUTLIERS,
        changes=CHANGES,
        backends=2,
    )
    hashed = attrs.evolve(plain, endpoints=10, hash_policies=BY_HEADER)
    ten = attrs.evolve(plain, endpoints=10)
    rows = {
        "routes (20, by prefix)": attrs.evolve(plain, routes=20),
        "route by path and header": attrs.evolve(plain, route=everything.route),
        "weighted backends": attrs.evolve(plain, backends=2),
        "headers changed both ways": attrs.evolve(plain, changes=CHANGES),
        "timeouts, all": attrs.evolve(plain, timeouts=ALL_TIMEOUTS),
        "retry": attrs.evolve(plain, retry=RETRY),
        "outlier detection": attrs.evolve(plain, outliers=OUTLIERS),
        "10 endpoints, round robin": ten,
        "10 endpoints, least request": attrs.evolve(ten, balancing=LoadBalancing()),
        "10 endpoints, ring hash": attrs.evolve(hashed, balancing=LoadBalancing(balancer=Balancer.RING_HASH)),
        "10 endpoints, Maglev": attrs.evolve(hashed, balancing=LoadBalancing(balancer=Balancer.MAGLEV)),
        "10 endpoints, peak EWMA": attrs.evolve(ten, balancing=LoadBalancing(balancer=Balancer.PEAK_EWMA)),
    }
    found = [Subject(name="outbound", runner=Runner(plain.parts(), port=PORT), plain="")]
    found += [Subject(name=name, runner=Runner(row.parts(), port=PORT), plain="outbound") for name, row in rows.items()]
    found.append(Subject(name="access log", runner=Runner(plain.parts(), port=PORT, log_lines=True), plain="outbound"))
    found.append(
        Subject(name="ALL OUTBOUND", runner=Runner(everything.parts(), port=PORT, log_lines=True), plain="outbound")
    )
    inbounds = {
        "permission": {"permissions": PERMISSIONS},
        "rate limit by caller": {"rate_limits": LIMITS},
        "faults by caller (0 %)": {"faults": FAULTS},
        "timeouts by caller": {"caller_timeouts": BY_CALLER},
    }
    found.append(Subject(name="inbound", runner=Runner([PLAIN_INBOUND], port=PORT, peer=CALLER), plain=""))
    for name, what in inbounds.items():
        part = attrs.evolve(PLAIN_INBOUND, **what)
        found.append(Subject(name=name, runner=Runner([part], port=PORT, peer=CALLER), plain="inbound"))
    together = attrs.evolve(PLAIN_INBOUND, **{key: value for what in inbounds.values() for key, value in what.items()})
    runner = Runner([together], port=PORT, peer=CALLER, log_lines=True)
    found.append(Subject(name="ALL INBOUND", runner=runner, plain="inbound"))
    return found


def run(*, rounds: int) -> None:
    """Print the two tables."""
    cost_table(rounds)
    flatness_table(rounds)


def cost_table(rounds: int) -> None:
    """Print what each policy adds to a request."""
    rows, messages = subjects(), requests(REQUESTS)
    for row in rows:
        row.runner.run(messages)  # connections are opened, tables built
    costs_us: dict[str, list[float]] = {row.name: [] for row in rows}
    added_us: dict[str, list[float]] = {row.name: [] for row in rows if row.plain}
    slices = [messages[start : start + SLICE] for start in range(0, REQUESTS, SLICE)]
    for few in slices * rounds:  # Short, so that a proxy and its plain one meet the same moment of a busy machine.
        taken = {row.name: row.runner.run(few) / SLICE * 1e6 for row in rows}
        for row in rows:
            costs_us[row.name].append(taken[row.name])
            if row.plain:
                added_us[row.name].append(taken[row.name] - taken[row.plain])
    print(
        f"\nPOLICIES: microseconds of CPU a request, median of {rounds * REQUESTS // SLICE} interleaved slices [quartiles]"
    )
    for row in rows:
        if not row.plain:
            print(f"  a plain {row.name}: {statistics.median(costs_us[row.name]):.1f}")
            continue
        found = sorted(added_us[row.name])
        goal = f"   goal {GOAL_US:g}" if row.name.isupper() else ""
        low, high = found[len(found) // 4], found[-len(found) // 4]
        print(f"    + {row.name:<28} {statistics.median(found):6.2f}  [{low:.2f}..{high:.2f}]{goal}")


def flatness_table(rounds: int) -> None:
    """Print the cost of a pick and of a route match at growing sizes."""
    print(f"\nFLATNESS: microseconds, median of {rounds} rounds")
    print("  a pick among endpoints " + "".join(f"{size:>10,}" for size in PICK_SIZES))
    for name, config in PICKS.items():
        found = [_median_us(_picking(config, size), rounds) for size in PICK_SIZES]
        print(f"    {name:<20} " + "".join(f"{value:10.2f}" for value in found))
    print("  a match among routes   " + "".join(f"{size:>10,}" for size in ROUTE_SIZES))
    for name, entry in ROUTES.items():
        found = [_median_us(_matching(entry, size), rounds) for size in ROUTE_SIZES]
        print(f"    {name:<20} " + "".join(f"{value:10.2f}" for value in found))


PICK_SIZES = (10, 100, 1_000, 10_000)
ROUTE_SIZES = (10, 100, 1_000)
PICKS = {
    "round robin": LoadBalancing(balancer=Balancer.ROUND_ROBIN),
    "least request": LoadBalancing(),
    "random": LoadBalancing(balancer=Balancer.RANDOM),
    "ring hash": LoadBalancing(balancer=Balancer.RING_HASH),
    "Maglev": LoadBalancing(balancer=Balancer.MAGLEV),
    "peak EWMA": LoadBalancing(balancer=Balancer.PEAK_EWMA),
    "weighted (EDF)": LoadBalancing(balancer=Balancer.ROUND_ROBIN),
}


@attrs.define(eq=False)
class _Host:
    """An endpoint as balancers see it."""

    label: str
    weight: int = 1
    active: int = 0
    priority: int = 0
    locality: str = ""
    locality_weight: int = 0
    healthy_since: float = float("-inf")
    latency: object = None


def _picking(config: LoadBalancing, size: int) -> Callable[[int], None]:
    uneven = config is PICKS["weighted (EDF)"]
    hosts = [
        _Host(f"10.{index // 65536}.{index // 256 % 256}.{index % 256}:80", weight=1 + index % 3 if uneven else 1)
        for index in range(size)
    ]
    selector = EndpointSelector(config, hosts, lambda host: True, random.Random(7), now=0.0)  # type: ignore[type-var]
    selector.pick(0.0, 0)

    def work(count: int) -> None:
        pick = selector.pick
        for number in range(count):
            pick(1.0, number * 2_654_435_761 % 2**64)

    return work


def _exact(index: int) -> RouteMatch:
    return RouteMatch(path=PathMatch(kind=PathMatchKind.EXACT, value=f"/api/v1/svc{index}/items"))


def _prefix(index: int) -> RouteMatch:
    return RouteMatch(path=PathMatch(value=f"/api/v1/svc{index}"))


def _expression(index: int) -> RouteMatch:
    return RouteMatch(path=PathMatch(kind=PathMatchKind.REGULAR_EXPRESSION, value=f"/api/v[0-9]+/svc{index}/.*"))


def _header(index: int) -> RouteMatch:
    return RouteMatch(headers=(HeaderMatch(name="x-tenant", value=f"tenant-{index}"),))


ROUTES: dict[str, Callable[[int], RouteMatch]] = {
    "exact path": _exact,
    "prefix": _prefix,
    "regular expression": _expression,
    "header": _header,
}


def _matching(entry: Callable[[int], RouteMatch], size: int) -> Callable[[int], None]:
    table = RouteTable([(entry(index), index) for index in range(size)])
    heads = [_head(size * number // 20) for number in range(20)]
    for head in heads:
        assert table.find(head) is not None, "each request has its route"

    def work(count: int) -> None:
        find = table.find
        for number in range(count):
            find(heads[number % 20])

    return work


def _head(index: int) -> RequestHead:
    parsed = RequestParser().parse(
        b"GET /api/v1/svc%d/items HTTP/1.1\r\nhost: svc\r\nx-tenant: tenant-%d\r\n\r\n" % (index, index)
    )
    assert parsed is not None
    return parsed[0]


def _median_us(work: Callable[[int], None], rounds: int, count: int = 2_000) -> float:
    work(100)
    found: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        work(count)
        found.append((time.process_time() - began) / count * 1e6)
    return statistics.median(found)
