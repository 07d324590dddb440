"""Endpoints that are new or back get their share of the requests, and those that were removed get none."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mesh.config.outbounds import cluster_name
from mesh.policy.load_balancing import Balancer
from sim.checks.inspection import Seen
from sim.checks.liveness.promise import RECENT_S, LivenessPromise, listed
from sim.faults.core import Core
from sim.scenario.topology import ServiceKind

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_SHARE_MIN = 0.2  # of what it would be if all in its zone got the same
_FAIR_MIN = 30  # requests in RECENT_S: with fewer, chance decides
_GONE_S = 5.0  # This long after an instance has gone nobody may try it any more.


class FairShares(LivenessPromise):
    """L6 of the list in `sim.checks.liveness.catalogue`. HTTP services that are balanced evenly; ejected instances aside."""

    name = "endpoints-share"
    about = "instances of the core get their share of the requests, and removed ones none"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._gone_s: dict[str, float] = {}  # {address: since when}
        self._asked: dict[str, str] = {}  # {address that has gone: who asked it in the last second}

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Note who has gone, and who asks them nevertheless."""
        mesh = self.mesh
        for name, host in mesh.world.hosts.items():
            if name != mesh.control_plane_host.name and name not in mesh.members:
                self._gone_s.setdefault(host.address, now_s)
        self._asked = {}
        if self._gone_s:
            for member, _, record in seen:
                gone_s = self._gone_s.get(record.upstream.partition(":")[0])
                if gone_s is not None and record.started_at - mesh.origin_s > gone_s + _GONE_S:
                    self._asked[record.upstream] = member

    def pending(self, now_s: float, core: Core) -> str:
        if self._asked:
            return listed(
                [f"{member} still asks {upstream}, which is gone" for upstream, member in self._asked.items()]
            )
        poor: list[str] = []
        for service in self.mesh.scenario.services:
            if service.kind is ServiceKind.HTTP and self._is_even(service.name):
                poor += self._poor(service.name, now_s, core)
        return listed(poor)

    def _poor(self, service: str, now_s: float, core: Core) -> Iterable[str]:
        """Yield the instances with far less than their share."""
        served = self._served(service, max(now_s - RECENT_S, core.healed_s))
        members = [member for member in self.mesh.instances(service) if member.name in core]
        for zone in dict.fromkeys(member.what.zone for member in members):
            peers = [member.name for member in members if member.what.zone == zone]
            fair = sum(served.get(name, 0) for name in peers) / len(peers)
            for name in peers:
                if fair >= _FAIR_MIN and served.get(name, 0) < _SHARE_MIN * fair and not self._is_ejected(name):
                    yield f"{name} got {served.get(name, 0)} requests, its share is {fair:.0f}"

    def _served(self, service: str, since_s: float) -> dict[str, int]:
        served: dict[str, int] = {}
        for arrival, moments in self.mesh.evidence.services.arrivals.items():
            if arrival.service == service:
                count = len(moments) - bisect_left(moments, since_s + self.mesh.origin_s)
                served[arrival.instance] = served.get(arrival.instance, 0) + count
        return served

    def _is_even(self, service: str) -> bool:
        """Do all callers spread requests evenly? Not by what is in the request, and not by what answers cost."""
        called = cluster_name(service, self.mesh.scenario.service(service).kind.port)
        uneven = (Balancer.RING_HASH, Balancer.MAGLEV, Balancer.PEAK_EWMA)
        for member in self.mesh.members.values():
            cluster = None if member.sidecar is None else member.sidecar.clusters.get(called)
            if cluster is not None and cluster.config.load_balancing.balancer in uneven:
                return False
        return True

    def _is_ejected(self, name: str) -> bool:
        address = self.mesh.members[name].host.address
        return any(
            endpoint.address.host == address and endpoint.health is not None and endpoint.health.ejected
            for member in self.mesh.members.values()
            for cluster in (member.sidecar.clusters.values() if member.sidecar is not None else ())
            for endpoint in cluster.endpoints.values()
        )
