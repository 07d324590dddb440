"""How a sidecar stands crosses the socket whole, and looks on the other side as in simulation."""

import msgspec

from mesh.config.snapshot import Cluster, encode_part, part_key
from mesh.model.names import Address
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from sim.checks.views import CertificateView, ClusterView, ListenerView
from sim.local.messages import Report
from sim.local.mirrors import MirroredSidecar
from sim.local.standing import ClusterStanding, EjectionStanding, EndpointStanding, Standing


async def _nothing() -> None:
    """There is no process to end."""


def standing(*, told_config: bool) -> Standing:
    part = Cluster(name="stock_8080", circuit_breaking=CircuitBreakingLimits(requests_max=7))
    view = ClusterView("stock_8080", 2, 0, 1, 0, part.circuit_breaking, 2, 3, 40, 5, {200: 38, 503: 2})
    ejection = EjectionStanding(110.0, 2, 0.5)
    endpoints = [
        EndpointStanding("stock-1", "127.10.0.1", 8080, True, ejection),
        EndpointStanding("stock-2", "127.10.0.2", 8080, True, None),
    ]
    return Standing(
        at=120.0,
        wall_clock_s=1e9,
        version="abc",
        connected=True,
        last_error="",
        draining=False,
        in_flight=1,
        clusters=[ClusterStanding(view, False, endpoints)],
        listeners=[ListenerView("in", Address("127.10.0.3", 8080), True, True, 1, 9, {200: 8}, 0)],
        certificate=CertificateView(1.0, 2.0),
        parts={part_key(part): encode_part(part)} if told_config else None,
    )


def told(told_standing: Standing) -> Standing:
    """Send it across the socket."""
    report = Report(standing=told_standing)
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=Report).standing
    assert received is not None
    return received


def test_a_standing_crosses_the_socket_whole() -> None:
    assert told(standing(told_config=True)) == standing(told_config=True)


def test_the_mirror_shows_the_sidecar_on_the_clock_of_the_runner() -> None:
    sidecar = MirroredSidecar(_nothing)
    assert sidecar.view(member="shop-1", workload="shop", life=0, busy=0, shift_s=-100.0) is None
    sidecar.take(told(standing(told_config=True)), shift_s=-100.0)
    cluster = sidecar.clusters["stock_8080"]
    assert cluster.config.circuit_breaking.requests_max == 7
    health = cluster.endpoints["stock-1"].health
    assert health is not None
    assert health.ejected
    assert health.ejected_at == 10.0
    other = cluster.endpoints["stock-2"].health
    assert other is not None
    assert not other.ejected
    view = sidecar.view(member="shop-1", workload="shop", life=0, busy=0, shift_s=-100.0)
    assert view is not None
    assert view.at == 20.0
    assert view.clusters[0].answers == {200: 38, 503: 2}
    assert sidecar.client.status().version == "abc"


def test_the_configuration_stays_the_same_object_until_another_is_told() -> None:
    # Watchers tell by it whether a proxy ran one configuration all the time.
    sidecar = MirroredSidecar(_nothing)
    sidecar.take(standing(told_config=True), shift_s=0.0)
    before = sidecar.snapshot
    sidecar.take(standing(told_config=False), shift_s=0.0)
    assert sidecar.snapshot is before
    sidecar.take(standing(told_config=True), shift_s=0.0)
    assert sidecar.snapshot is not before
