"""A push changes what it is about: clusters and listeners whose parts are as before go on as if nothing had come."""

from typing import Any

import attrs
import pytest
import trio

from mesh.config.snapshot import (
    Backend,
    ClusterEndpoints,
    Endpoint,
    OutboundListener,
    Part,
    Snapshot,
    TrustPart,
    decode_part,
    encode_part,
    part_key,
)
from mesh.identity.authority import Authority, issue_svid
from mesh.model.errors import ConfigError
from mesh.model.names import Address, SpiffeId
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.protocol.http1 import RequestParser
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness
from tests.mesh.proxy.laboratory import Lab, free_port, http_parts, with_sidecar

ROUND_ROBIN = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=0.0)
RANDOM = SystemRandomness(3).stream("serials")
PLACES = [Address("127.0.0.1", port) for port in (1, 2, 3)]


def parts_of(port: int, name: str, places: list[Address] = PLACES, requests_max: int = 5) -> list[Part]:
    limits = CircuitBreakingLimits(requests_max=requests_max)
    made = http_parts(port, places, route={}, cluster={"load_balancing": ROUND_ROBIN, "circuit_breaking": limits})
    cluster, endpoints, listener = made
    assert isinstance(endpoints, ClusterEndpoints) and isinstance(listener, OutboundListener)
    route = attrs.evolve(listener.routes[0], backends=(Backend(cluster=name),))
    return [
        attrs.evolve(cluster, name=name),
        attrs.evolve(endpoints, cluster=name),
        attrs.evolve(listener, name=name, routes=(route,)),
    ]


def as_pushed(*parts: Part) -> Snapshot:
    """Return the snapshot as it comes off the wire: equal parts are other objects."""
    return Snapshot({part_key(part): decode_part(part_key(part), encode_part(part)) for part in parts})


def run(tmp_path: Any, body: Any) -> None:
    async def main() -> None:
        other = free_port()
        await with_sidecar(
            tmp_path, lambda port: [*parts_of(port, "a"), *parts_of(other, "b")], lambda lab: body(lab, other)
        )

    trio.run(main)


def picks(lab: Lab, cluster: str, count: int) -> list[str]:
    picked = [lab.sidecar.clusters[cluster].pick() for _ in range(count)]
    return [endpoint.name for endpoint in picked if endpoint is not None]


def listener(lab: Lab, port: int) -> Any:
    return lab.sidecar._listeners[Address("127.0.0.1", port)]


def test_what_is_as_before_goes_on(tmp_path: Any) -> None:
    async def body(lab: Lab, other: int) -> None:
        untouched, touched = lab.sidecar.clusters["a"], lab.sidecar.clusters["b"]
        turns = picks(lab, "a", 2)
        assert untouched.breaker.admit_request()
        plans = listener(lab, lab.port).plan, listener(lab, other).plan
        selectors = untouched.selector, touched.selector
        lab.sidecar.apply(as_pushed(*parts_of(lab.port, "a"), *parts_of(other, "b", PLACES[:2])))
        assert untouched.selector is selectors[0] and touched.selector is not selectors[1]
        assert sorted([*turns, *picks(lab, "a", 1)]) == ["c-0", "c-1", "c-2"]
        assert untouched.breaker.requests == 1
        assert (listener(lab, lab.port).plan, listener(lab, other).plan) == plans
        assert sorted(touched.endpoints) == ["c-0", "c-1"]

    run(tmp_path, body)


def test_what_changed_is_changed_and_keeps_its_state(tmp_path: Any) -> None:
    async def body(lab: Lab, other: int) -> None:
        cluster = lab.sidecar.clusters["b"]
        assert cluster.breaker.admit_request()
        endpoint = cluster.endpoints["c-0"]
        lab.sidecar.apply(as_pushed(*parts_of(lab.port, "a"), *parts_of(other, "b", requests_max=1)))
        assert lab.sidecar.clusters["b"] is cluster and cluster.endpoints["c-0"] is endpoint
        assert not cluster.breaker.admit_request()

    run(tmp_path, body)


def test_a_listener_takes_its_new_plan_and_a_cluster_that_came_back_is_a_new_one(tmp_path: Any) -> None:
    async def body(lab: Lab, other: int) -> None:
        cluster, plan = lab.sidecar.clusters["b"], listener(lab, other).plan
        lab.sidecar.apply(as_pushed(*parts_of(lab.port, "a"), *parts_of(other, "c")))
        assert listener(lab, other).plan is not plan
        lab.sidecar.apply(as_pushed(*parts_of(lab.port, "a"), *parts_of(other, "b")))
        assert lab.sidecar.clusters["b"] is not cluster
        head, _ = RequestParser().parse(b"GET / HTTP/1.1\r\nhost: b\r\n\r\n")
        assert listener(lab, other).plan.handle.routes.find(head).cluster is lab.sidecar.clusters["b"]

    run(tmp_path, body)


def test_health_of_an_endpoint_reaches_the_balancer(tmp_path: Any) -> None:
    async def body(lab: Lab, other: int) -> None:
        parts = parts_of(other, "b")
        sick = Endpoint(name="c-0", address=PLACES[0], healthy=False)
        assert isinstance(parts[1], ClusterEndpoints)
        parts[1] = attrs.evolve(parts[1], endpoints=(sick, *parts[1].endpoints[1:]))
        lab.sidecar.apply(as_pushed(*parts_of(lab.port, "a"), *parts))
        assert sorted(set(picks(lab, "b", 6))) == ["c-1", "c-2"]

    run(tmp_path, body)


def test_roots_that_cannot_be_read_are_refused_and_nothing_has_changed(tmp_path: Any) -> None:
    async def body(lab: Lab, other: int) -> None:
        authority = Authority.create("t", now=wall_clock(), serial_random=RANDOM)
        lab.sidecar.use_identity(
            issue_svid(authority, SpiffeId("t", "/a"), lifetime_s=60.0, now=wall_clock(), serial_random=RANDOM)
        )
        before, clusters = lab.sidecar.snapshot, dict(lab.sidecar.clusters)
        port = free_port()
        unreadable = TrustPart(trust_domain="t", roots_pem=("-----BEGIN CERTIFICATE-----\nAAAA",))
        with pytest.raises(ConfigError, match="cannot be read"):
            lab.sidecar.apply(as_pushed(unreadable, *parts_of(lab.port, "a", PLACES[:1]), *parts_of(port, "new")))
        assert lab.sidecar.snapshot is before
        assert lab.sidecar.clusters == clusters
        assert sorted(lab.sidecar.clusters["a"].endpoints) == ["c-0", "c-1", "c-2"]
        assert Address("127.0.0.1", port) not in lab.sidecar._listeners

    run(tmp_path, body)
