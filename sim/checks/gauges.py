"""Metrics of `expect` that stand at some value at each moment, as `instances(stock)` or `ejected(stock)`.

They are looked at once a second, and only those that a check asks for. A comparison judges the worst second of its time: the
highest value where it wants less, the lowest where it wants more.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mesh.config.outbounds import cluster_name
from sim.checks.inspection import Seen
from sim.scenario.expression import GAUGES, Metric

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState
    from mesh.proxy.sidecar import Sidecar
    from sim.assembly import Member, SimulatedMesh
    from sim.host import Host
    from sim.workload.service import Load


class GaugeSampler:
    """An observer that notes `(moment, value)` of some gauges, in the order of moments."""

    def __init__(self, mesh: "SimulatedMesh", metrics: Iterable[Metric]) -> None:
        self._mesh = mesh
        self._rows = {
            metric: mesh.evidence.gauges.setdefault(metric, []) for metric in metrics if metric.name in GAUGES
        }
        self._converged_s: dict[str, float] = {}  # when each proxy last ran the newest configuration

    @property
    def wanted(self) -> bool:
        """Does any check ask for a gauge?"""
        return bool(self._rows)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Note how everything stands."""
        if any(metric.name == "config-lag" for metric in self._rows):
            self._note_converged(now_s)
        for metric, rows in self._rows.items():
            lag = metric.name == "config-lag"
            value = self._lag_s(metric.subject, now_s) if lag else _READ[metric.name](self._mesh, metric.subject)
            if value is not None:
                rows.append((now_s, value))

    def _note_converged(self, now_s: float) -> None:
        """Note who runs the newest; what a control plane that is cut off from the store calls so was it when that began."""
        lagging, silences = self._mesh.lagging(self._mesh.members), self._mesh.control_planes.silences()
        for name in self._mesh.members:
            if name not in lagging:
                self._converged_s[name] = now_s - silences.get(name, 0.0)

    def _lag_s(self, subject: str, now_s: float) -> float:
        members = (member for member in _members(self._mesh, subject) if member.host.alive)
        return max((now_s - self._converged_s.setdefault(member.name, now_s) for member in members), default=0.0)


def _members(mesh: "SimulatedMesh", subject: str) -> "Iterator[Member]":
    """Yield those who stay: of a service or workload, one of them, or all."""
    for member in mesh.members.values():
        if subject in ("*", member.what.workload, member.name) and not member.leaving:
            yield member


def _clusters(mesh: "SimulatedMesh", subject: str) -> "Iterator[ClusterState]":
    """Yield the clusters by which all callers reach a service."""
    called = [cluster_name(s.name, s.kind.port) for s in mesh.scenario.services if subject in ("*", s.name)]
    for member in mesh.members.values():
        if member.sidecar is not None and member.host.alive:
            clusters = member.sidecar.clusters
            yield from (clusters[name] for name in called if name in clusters)


def _ejected(mesh: "SimulatedMesh", subject: str) -> float:
    ejected = {
        endpoint.label: None
        for cluster in _clusters(mesh, subject)
        for endpoint in cluster.endpoints.values()
        if endpoint.health is not None and endpoint.health.ejected
    }
    return float(len(ejected))


def _panicking(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(cluster.panicking for cluster in _clusters(mesh, subject)))


def _open_connections(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(cluster.breaker.connections for cluster in _clusters(mesh, subject)))


def _instances(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(member.host.alive for member in _members(mesh, subject)))


def _connected(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(sidecar.client.connected for _, sidecar in _sidecars(mesh, subject)))


def _in_flight(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(load.working for load in _loads(mesh, subject)))


def _queued(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(load.busy - load.working for load in _loads(mesh, subject)))


def _loads(mesh: "SimulatedMesh", subject: str) -> "Iterator[Load]":
    for member in _members(mesh, subject):
        if member.service is not None and member.host.alive:
            yield member.service.places


def _restarts(mesh: "SimulatedMesh", subject: str) -> float:
    return float(sum(max(member.host.network_host.incarnation, 0) for member in _members(mesh, subject)))


def _certificate_left(mesh: "SimulatedMesh", subject: str) -> float | None:
    svids = [(host, sidecar.client.identity.svid) for host, sidecar in _sidecars(mesh, subject)]
    return min((svid.not_after - host.wall_clock() for host, svid in svids if svid is not None), default=None)


def _sidecars(mesh: "SimulatedMesh", subject: str) -> "Iterator[tuple[Host, Sidecar]]":
    for member in _members(mesh, subject):
        if member.sidecar is not None and member.host.alive:
            yield member.host, member.sidecar


_READ: Mapping[str, Callable[["SimulatedMesh", str], float | None]] = {
    "ejected": _ejected,
    "panicking": _panicking,
    "open-connections": _open_connections,
    "instances": _instances,
    "connected": _connected,
    "in-flight": _in_flight,
    "queued": _queued,
    "restarts": _restarts,
    "certificate-left": _certificate_left,
}
