"""Promises of liveness, against a mesh made by hand: each finds what it is for, and is content without it."""

from types import SimpleNamespace as Thing

import attrs
import pytest

from mesh.policy.load_balancing import Balancer
from sim.checks.inspection import Seen
from sim.checks.liveness.certificates import CertificatesRotate
from sim.checks.liveness.core_serves import CoreServes
from sim.checks.liveness.goodput import GoodputReturns
from sim.checks.liveness.reconnects import ReconnectsDecay
from sim.checks.liveness.shares import FairShares
from sim.checks.liveness.streams import StreamsProgress
from sim.faults.core import Core
from sim.scenario.topology import ServiceKind
from sim.workload.observations import Arrival

CORE = Core(hosts=frozenset({"web-1", "web-2", "edge"}), healed_s=100.0, due_s=160.0)


class FakeMesh:
    """What the promises look at: hosts with sockets, instances of `web`, proxies, what was served."""

    def __init__(self):
        self.origin_s = 1000.0
        self.scenario = Thing(
            services=[Thing(name="web", kind=ServiceKind.HTTP)],
            service=lambda name: Thing(name=name, kind=ServiceKind.HTTP),
            timeline=[Thing(at_s=50.0, is_fault=True)],
            warmup_s=10.0,
            duration_s=300.0,
        )
        self.control_plane_host = Thing(name="control-plane")
        self.members = {name: self.member(name) for name in ("web-1", "web-2", "edge")}
        self.world = Thing(
            hosts={name: member.host for name, member in self.members.items()},
            network=Thing(connections_begun=lambda among=None: self.connections),
        )
        self.connections = 0
        self.evidence = Thing(services=Thing(arrivals={}))
        self.balancer = Balancer.LEAST_REQUEST

    def member(self, name):
        number = name.rpartition("-")[2]
        host = Thing(name=name, address=f"10.0.0.{number}", alive=True, network_host=Thing(sockets=[]))
        return Thing(
            name=name, host=host, what=Thing(zone="here", workload=name.partition("-")[0]), sidecar=self.sidecar()
        )

    def sidecar(self):
        cluster = Thing(config=Thing(load_balancing=Thing(balancer=Balancer.LEAST_REQUEST)), endpoints={})
        return Thing(clusters={"web_8080": cluster})

    def instances(self, service):
        return [member for member in self.members.values() if member.what.workload == service]

    def served(self, instance, *, since_s, until_s, every_s=0.1):
        moments = self.evidence.services.arrivals.setdefault(Arrival("web", instance, "here", "GET /"), [])
        moments += [self.origin_s + since_s + n * every_s for n in range(int((until_s - since_s) / every_s))]

    def socket(self, source, target, *, sent=0, read=0):
        path = Thing(loopback=False, source=Thing(name=source), target=Thing(name=target))
        socket = StreamEnd(sent=sent, peer=Thing(consumed=read), path=path, server_port=8080)
        self.world.hosts[source].network_host.sockets.append(socket)
        return socket


class StreamEnd(Thing):
    __hash__ = object.__hash__


@pytest.fixture
def mesh():
    return FakeMesh()


def watch(promise, *, since_s=90, until_s=160, each=lambda now_s: None):
    for now_s in range(since_s, until_s + 1):
        each(now_s)
        promise.observe(float(now_s), [])
    return promise.pending(float(until_s), CORE)


# Streams.


def test_bytes_that_nobody_reads_stall_a_stream(mesh):
    mesh.socket("web-1", "web-2", sent=500, read=100)
    assert watch(StreamsProgress(mesh)) == "no progress: web-1 to web-2:8080 since 90s"


def test_stream_that_moves_on_or_is_read_is_fine(mesh):
    mesh.socket("web-1", "web-2", sent=500, read=500)
    moving = mesh.socket("edge", "web-2", sent=500, read=100)
    assert watch(StreamsProgress(mesh), each=lambda now_s: setattr(moving, "sent", 500 + now_s)) == ""


def test_stream_that_leaves_the_core_may_stall(mesh):
    mesh.socket("web-1", "gone-1", sent=500, read=100)
    assert watch(StreamsProgress(mesh)) == ""


# Certificates.


@pytest.mark.parametrize(
    ("left_s", "found"), [(60.0, ""), (10.0, "web-1's expires in 10s"), (-5.0, "web-1's expired 5s ago")]
)
def test_certificate_must_be_renewed_in_time(mesh, left_s, found):
    svid = Thing(not_before=0.0, not_after=100.0)
    for name in ("web-1", "outside-1"):
        mesh.members[name] = mesh.member(name)
        mesh.members[name].sidecar.client = Thing(identity=Thing(svid=svid))
        mesh.members[name].host.wall_clock = lambda: 100.0 - left_s
    for name in ("web-2", "edge"):
        mesh.members[name].sidecar = None
    assert CertificatesRotate(mesh).pending(150.0, CORE) == found


# Shares.


def test_instance_that_is_left_out_is_named(mesh):
    mesh.served("web-1", since_s=100, until_s=160, every_s=0.05)
    mesh.served("web-2", since_s=100, until_s=160, every_s=2.0)
    assert FairShares(mesh).pending(160.0, CORE).startswith("web-2 got 5 requests, its share is 10")


def test_even_shares_and_hashed_ones_are_fine(mesh):
    mesh.served("web-1", since_s=100, until_s=160)
    mesh.served("web-2", since_s=100, until_s=160)
    assert FairShares(mesh).pending(160.0, CORE) == ""
    mesh.served("web-1", since_s=100, until_s=160, every_s=0.01)
    for member in mesh.members.values():
        member.sidecar.clusters["web_8080"].config.load_balancing.balancer = Balancer.MAGLEV
    assert FairShares(mesh).pending(160.0, CORE) == ""


def test_who_asks_an_instance_that_has_gone_is_named(mesh):
    promise = FairShares(mesh)
    promise.observe(110.0, [])
    del mesh.members["web-2"]
    promise.observe(111.0, [])
    record = Thing(upstream="10.0.0.2:8080", started_at=mesh.origin_s + 118.0)
    promise.observe(119.0, [("edge", "edge", record)])
    assert promise.pending(119.0, CORE) == "edge still asks 10.0.0.2:8080, which is gone"
    promise.observe(120.0, [])
    assert promise.pending(120.0, CORE) == ""


# Reconnects.


def reconnects(mesh, *, usual_per_s, then_per_s):
    promise, pending = ReconnectsDecay(mesh), ""
    for now_s in range(1, 161):
        mesh.connections += usual_per_s if now_s <= 50 else then_per_s
        promise.observe(float(now_s), [])
        if now_s > CORE.healed_s:
            pending = promise.pending(float(now_s), CORE)
    return pending


def test_storm_of_reconnections_is_named():
    assert reconnects(FakeMesh(), usual_per_s=1, then_per_s=40) == "400 connections in 10s, 10 were usual"


def test_as_many_connections_as_before_are_fine():
    assert reconnects(FakeMesh(), usual_per_s=1, then_per_s=2) == ""


# The core serves.


def test_service_that_nobody_reaches_any_more_is_named(mesh):
    mesh.served("web-1", since_s=0, until_s=100)
    assert CoreServes(mesh).pending(160.0, CORE) == "no request reached web for 10s"
    mesh.served("web-2", since_s=150, until_s=160)
    assert CoreServes(mesh).pending(160.0, CORE) == ""


# Goodput.


def goodput(mesh, *, then_good=10, then_tries=1, then_waiting=0, permanent=()):
    """Let ten journeys and requests end each second; from 100 s on as said."""
    journeys, places = [], Thing(busy=0, working=0)
    mesh.evidence.users = Thing(journeys=journeys)
    for member in mesh.members.values():
        member.service = Thing(places=places)
    promise = GoodputReturns(mesh)
    for now_s in range(1, 161):
        late = now_s > 100
        journeys.extend(Thing(ok=not late or number < then_good) for number in range(10))
        places.busy = then_waiting if late else 0
        tries = then_tries if late else 1
        record = Thing(inbound=False, method=b"GET", tries=tries, status=200, request_id=b"", traceparent=b"")
        promise.observe(float(now_s), [Seen("edge", "edge", record)] * 10)
    return promise.pending(160.0, attrs.evolve(CORE, permanent=permanent))


def test_goodput_at_its_baseline_is_fine(mesh):
    assert goodput(mesh) == ""


@pytest.mark.parametrize(
    ("then", "found"),
    [
        ({"then_good": 8}, "success is 80.0%, was 100.0%"),
        ({"then_tries": 2}, "a request takes 2.00 tries, took 1.00"),
        ({"then_waiting": 4}, "12 requests wait in queues, at most 0 did"),
    ],
)
def test_metastable_states_are_named(mesh, then, found):
    assert goodput(mesh, **then) == found


def test_tries_may_stay_up_while_somebody_outside_stays_broken(mesh):
    assert goodput(mesh, then_tries=2, permanent=("kill web-9",)) == ""
