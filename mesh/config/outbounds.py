"""Outbounds: what a proxy has towards one port of a service, made once for all callers under the same policies.

Pure but for that memory.
"""

import attrs

from mesh.config import defaults, translation
from mesh.config.external_services import cluster_origination
from mesh.config.policies import PolicyIndex, Selected
from mesh.config.services import EXTERNAL, MESH_SERVICE, MULTI_ZONE, Service
from mesh.config.snapshot import Backend, Cluster, ClusterEndpoints, Origination, OutboundListener, Route, UpstreamTls
from mesh.model.names import Address
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf

# The kinds of policies that say something about a destination.
OUTBOUND_KINDS = ("MeshTimeout", "MeshRetry", "MeshCircuitBreaker", "MeshLoadBalancingStrategy")

REMEMBERED_MAX = 100_000

# What tells the clusters of one kind of service from those of another; names of services hold no dots.
_SUFFIX_BY_KIND = {MESH_SERVICE: "", EXTERNAL: ".extsvc", MULTI_ZONE: ".mzsvc"}


def cluster_name(service: str, port: int, kind: str = MESH_SERVICE) -> str:
    """Name the cluster of one port of a service."""
    return f"{service}{_SUFFIX_BY_KIND[kind]}_{port}"


def server_name(service: str, port: int, mesh: str, kind: str = MESH_SERVICE) -> str:
    """Name a destination inside the mesh in TLS (SNI)."""
    return f"{port}.{service}{_SUFFIX_BY_KIND[kind]}.{mesh}.mesh.local"


@attrs.frozen(kw_only=True)
class Caller:
    """What counts of a caller: which policies of `OUTBOUND_KINDS` select it, in that order, and whether it has an identity."""

    selected: tuple[Selected, ...]
    identified: bool


@attrs.frozen(eq=False, kw_only=True)
class Towards:
    """One port of a service as callers of one sort see it; whatever does not depend on the address that they call."""

    service: Service
    cluster: Cluster
    endpoints: ClusterEndpoints
    origination: Origination | None
    route: Route
    retry_connects_max: int

    def listener(self, address: Address) -> OutboundListener:
        """Return the listener through which the application calls it."""
        return OutboundListener(
            name=str(address),
            address=address,
            protocol=self.cluster.protocol,
            routes=(self.route,),
            retry_connects_max=self.retry_connects_max,
            hostnames=tuple(hostname.name for hostname in self.service.hostnames),
        )


@attrs.define(eq=False)
class Outbounds:
    """Remembers what it made: for as long as a service and the policies stay, everybody gets the same parts."""

    mesh: str
    policies: PolicyIndex
    _made: dict[tuple[str, str, int, Caller], Towards] = attrs.field(factory=dict)

    def over(self, policies: PolicyIndex) -> "Outbounds":
        """Return them for other policies, with the memory if these say the same of destinations."""
        if all(policies.kinds.get(kind) is self.policies.kinds.get(kind) for kind in OUTBOUND_KINDS):
            return Outbounds(self.mesh, policies, self._made)
        return Outbounds(self.mesh, policies)

    def towards(self, service: Service, port: ServicePort, caller: Caller) -> Towards:
        """Return what callers of a sort have towards one port of a service."""
        key = (service.kind, service.name, port.port, caller)
        kept = self._made.get(key)
        if kept is None or kept.service is not service:
            if len(self._made) >= REMEMBERED_MAX:
                self._made.clear()  # Services that went are among them.
            kept = self._made[key] = self._make(service, port, caller)
        return kept

    def _make(self, service: Service, port: ServicePort, caller: Caller) -> Towards:
        timeouts, retry, breaker, strategy = (
            self._conf(kind, selected, service, port)
            for kind, selected in zip(OUTBOUND_KINDS, caller.selected, strict=True)
        )
        cluster = Cluster(
            name=cluster_name(service.name, port.port, service.kind),
            protocol=port.protocol,
            tls=self._tls(service, port, caller),
            load_balancing=translation.load_balancing(strategy, breaker),
            circuit_breaking=translation.circuit_breaking(breaker),
            outlier_detection=translation.outlier_detection(breaker),
            timeouts=translation.timeouts(timeouts, defaults.OUTBOUND_TIMEOUTS),
        )
        route = Route(
            name=cluster.name,
            backends=(Backend(cluster=cluster.name),),
            retry=translation.retry_policy(retry, breaker, cluster.timeouts.request_s),
            timeouts=cluster.timeouts,
        )
        return Towards(
            service=service,
            cluster=cluster,
            endpoints=ClusterEndpoints(cluster=cluster.name, endpoints=service.endpoints_by_port[port.port]),
            origination=cluster_origination(service, cluster.name),
            route=route,
            retry_connects_max=translation.connect_retries_max(retry),
        )

    def _tls(self, service: Service, port: ServicePort, caller: Caller) -> UpstreamTls | None:
        if service.kind == EXTERNAL:
            return None if service.origination is None else UpstreamTls()
        if not (caller.identified and service.secured):
            return None
        sni = server_name(service.name, port.port, self.mesh, service.kind)
        return UpstreamTls(expected_peers=service.spiffe_ids, sni=sni)

    def _conf(self, kind: str, selected: Selected, service: Service, port: ServicePort) -> Conf:
        return self.policies.towards(kind, selected, service, port, to_kind=service.kind)
