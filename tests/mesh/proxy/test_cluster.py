"""One cluster's own state: what balancers learn of endpoints, how changes of health are taken in, what outcomes count as."""

import math
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import structlog

from mesh.config.snapshot import Cluster, Endpoint
from mesh.model.names import Address
from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import Balancer, LoadBalancing, SlowStart
from mesh.policy.outlier_detection import OutlierDetection
from mesh.protocol.http1 import ResponseHead, ResponseParser
from mesh.proxy.cluster import ClusterState
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import PLAINTEXT


class Timers:
    """A reactor that only keeps time."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time_s

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self.due.append((when, callback))

    def advance(self, to_s: float) -> None:
        self.time_s = to_s
        ready, self.due = [c for when, c in self.due if when <= to_s], [e for e in self.due if e[0] > to_s]
        for callback in ready:
            callback()


@attrs.define(eq=False)
class Scene:
    """A cluster with endpoints named by their ports."""

    config: Cluster
    timers: Timers = attrs.Factory(Timers)
    cluster: ClusterState = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cluster = ClusterState(
            self.config,
            reactor=self.timers,  # type: ignore[arg-type]
            random=random.Random(1),
            check_random=lambda: random.Random(2),
            log=structlog.get_logger(),
        )

    def update(self, *ports: int, **fields: Any) -> None:
        located = tuple(
            LocatedEndpoint(
                name=str(port),
                endpoint=Endpoint(name=str(port), address=Address("10.0.0.1", port), **fields),
                address=Address("10.0.0.1", port),
            )
            for port in ports
        )
        self.cluster.update(self.config, located, PLAINTEXT)

    def picked(self, times: int = 20) -> set[str]:
        picks = (self.cluster.pick() for _ in range(times))
        return {endpoint.name for endpoint in picks if endpoint is not None}


def head_of(*lines: str) -> ResponseHead:
    text = "\r\n".join(["HTTP/1.1 200 OK", "content-length: 0", *lines, "", ""])
    parsed = ResponseParser().parse(text.encode())
    assert parsed is not None
    return parsed[0]


def test_endpoints_carry_what_balancers_and_retries_look_at() -> None:
    scene = Scene(Cluster(name="c"))
    scene.update(1, locality="zone-a", locality_weight=9, weight=3, tags=(("version", "v2"),))
    endpoint = scene.cluster.endpoints["1"]
    assert (endpoint.label, endpoint.locality, endpoint.locality_weight) == ("10.0.0.1:1", "zone-a", 9)
    assert (endpoint.weight, endpoint.tags) == (3, (("version", "v2"),))


def test_a_cluster_without_endpoints_picks_nobody() -> None:
    scene = Scene(Cluster(name="c"))
    scene.update()
    assert scene.cluster.pick() is None and scene.cluster.selector is None
    assert not scene.cluster.panicking


def test_slow_start_begins_when_an_endpoint_is_first_usable_and_ejections_do_not_begin_it_again() -> None:
    """Source: Envoy recalculateHostsInSlowStart, setLastHcPassTime."""
    balancing = LoadBalancing(slow_start=SlowStart(window_s=10.0), balancer=Balancer.ROUND_ROBIN)
    detection = OutlierDetection(consecutive_5xx=1, ejection_percent_max=100, interval_s=1.0, base_ejection_s=1.0)
    scene = Scene(Cluster(name="c", load_balancing=balancing, outlier_detection=detection))
    scene.timers.advance(5.0)
    scene.update(1)
    scene.timers.advance(7.0)
    scene.update(1, 2)
    endpoints = scene.cluster.endpoints
    assert [endpoint.healthy_since for endpoint in endpoints.values()] == [5.0, 7.0]
    scene.cluster.on_response(endpoints["1"], 500)
    scene.timers.advance(8.0)
    assert endpoints["1"].health is not None and not endpoints["1"].health.ejected
    assert endpoints["1"].healthy_since == 5.0


def test_without_slow_start_nobody_is_young() -> None:
    scene = Scene(Cluster(name="c"))
    scene.timers.advance(5.0)
    scene.update(1)
    assert scene.cluster.endpoints["1"].healthy_since == -math.inf


def test_latencies_reach_only_those_who_balance_by_them() -> None:
    for balancer in (Balancer.PEAK_EWMA, Balancer.LEAST_REQUEST):
        scene = Scene(Cluster(name="c", load_balancing=LoadBalancing(balancer=balancer)))
        scene.update(1, 2)
        slow = scene.cluster.endpoints["1"]
        scene.cluster.on_latency(slow, 0.4, failed=False)
        scene.cluster.on_latency(slow, 0.001, failed=True, retry_after_s=60.0)
        if balancer is Balancer.PEAK_EWMA:
            assert slow.latency is not None and slow.latency.at(0.0) == 60.0
            assert scene.picked(40) == {"2"}
        else:
            assert slow.latency is None


@pytest.mark.parametrize(
    ("lines", "ejected"),
    [
        ((), False),
        (("grpc-status: 0",), False),
        (("grpc-status: 14",), True),  # UNAVAILABLE
        (("grpc-status: 5",), False),  # NOT_FOUND
        (("grpc-status: 13",), True),  # INTERNAL
    ],
)
def test_a_grpc_status_counts_as_the_http_status_that_it_means(lines: tuple[str, ...], ejected: bool) -> None:
    scene = Scene(Cluster(name="c", outlier_detection=OutlierDetection(consecutive_5xx=1, ejection_percent_max=100)))
    scene.update(1)
    scene.cluster.on_response(scene.cluster.endpoints["1"], 200, head_of(*lines))
    health = scene.cluster.endpoints["1"].health
    assert health is not None and health.ejected == ejected


def test_an_ejected_endpoint_gets_nothing_from_that_moment_on() -> None:
    scene = Scene(Cluster(name="c", outlier_detection=OutlierDetection(consecutive_5xx=1, ejection_percent_max=50)))
    scene.update(1, 2, 3)
    assert scene.picked() == {"1", "2", "3"}
    scene.cluster.on_local_failure(scene.cluster.endpoints["2"], FailureKind.CONNECT_FAILURE)
    assert scene.picked() == {"1", "3"}


def test_another_interval_begins_with_its_configuration() -> None:
    detection = OutlierDetection(consecutive_5xx=1, ejection_percent_max=100, interval_s=10.0, base_ejection_s=1.0)
    scene = Scene(Cluster(name="c", load_balancing=LoadBalancing(panic_percent=0.0), outlier_detection=detection))
    scene.update(1)
    scene.cluster.on_response(scene.cluster.endpoints["1"], 500)
    scene.timers.advance(2.0)
    scene.config = attrs.evolve(scene.config, outlier_detection=attrs.evolve(detection, interval_s=3.0))
    scene.update(1)
    scene.timers.advance(4.9)
    assert scene.picked() == set()
    scene.timers.advance(5.0)
    assert scene.picked() == {"1"}
    scene.config = attrs.evolve(scene.config, outlier_detection=None)
    scene.update(1)
    for second in range(6, 30):
        scene.timers.advance(float(second))
    assert scene.timers.due == []  # No timer stays behind.


def test_changes_of_health_in_a_large_cluster_are_taken_in_together() -> None:
    scene = Scene(Cluster(name="c", outlier_detection=OutlierDetection(consecutive_5xx=1, ejection_percent_max=100)))
    scene.update(*range(1, 1101))
    cluster = scene.cluster
    scene.timers.advance(1.0)
    selectors = {id(cluster.selector): cluster.selector}
    for index, endpoint in enumerate(list(cluster.endpoints.values())[:100]):
        scene.timers.advance(1.0 + index * 0.0005)
        cluster.on_response(endpoint, 500)
        selectors[id(cluster.selector)] = cluster.selector
    scene.timers.advance(1.1)
    assert len(selectors) <= 7  # 50 ms at a pause of 10
    picked = scene.picked(5000)
    assert len(picked) > 900 and picked.isdisjoint(str(port) for port in range(1, 101))
