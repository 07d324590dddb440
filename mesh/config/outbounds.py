"""Outbounds: what a proxy has towards one port of a service, made once for all callers under the same policies.

Pure but for that memory.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from mesh.config import defaults, translation
from mesh.config.external_services import cluster_origination
from mesh.config.locality import Place, affinity_keys, placed, tag_keys
from mesh.config.policies import PolicyIndex, Selected
from mesh.config.services import EXTERNAL, MESH_SERVICE, MULTI_ZONE, Service
from mesh.config.snapshot import Backend, Cluster, ClusterEndpoints, Origination, Route, UpstreamTls
from mesh.config.view import DataplaneState
from mesh.model.security import TlsParameters
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf

# The kinds of policies that say something about a destination.
OUTBOUND_KINDS = ("MeshTimeout", "MeshRetry", "MeshCircuitBreaker", "MeshLoadBalancingStrategy", "MeshHealthCheck")

_STRATEGY = OUTBOUND_KINDS.index("MeshLoadBalancingStrategy")

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
    """What counts of a caller: which policies of `OUTBOUND_KINDS` select it, in that order, who and where it is.

    `kept_tags`: what its retries ask of endpoints.
    """

    selected: tuple[Selected, ...]
    identified: bool
    place: Place = Place()
    kept_tags: frozenset[str] = frozenset()
    tls: TlsParameters = TlsParameters()  # what its mesh speaks

    @classmethod
    def of(
        cls, policies: PolicyIndex, selected: Mapping[str, Selected], state: DataplaneState, identified: bool
    ) -> "Caller":
        """Return what counts of a proxy that these policies select."""
        asked = affinity_keys(
            policies.defaults_towards("MeshLoadBalancingStrategy", selected["MeshLoadBalancingStrategy"])
        )
        return cls(
            selected=tuple(selected[kind] for kind in OUTBOUND_KINDS),
            identified=identified,
            place=Place(
                zone=state.zone,
                labels=tuple((key, value) for key, value in sorted(state.labels.items()) if key in asked),
            ),
            kept_tags=tag_keys(policies.defaults_towards("MeshRetry", selected["MeshRetry"])),
            tls=translation.tls_parameters(policies.mesh_wide("MeshTLS", selected["MeshTLS"])),
        )


@attrs.frozen(eq=False, kw_only=True)
class Towards:
    """One port of a service as callers of one sort see it; `route` is its own, which leads to it whatever is asked."""

    service: Service
    cluster: Cluster
    endpoints: ClusterEndpoints
    origination: Origination | None
    route: Route
    retry_connects_max: int


@attrs.define(eq=False)
class Outbounds:
    """Remembers what it made: for as long as a service and the policies stay, everybody gets the same parts."""

    mesh: str
    policies: PolicyIndex
    _made: dict[tuple[str, str, int, Caller], Towards] = attrs.field(factory=dict)
    _endpoints: dict[tuple[Any, ...], tuple[Service, ClusterEndpoints]] = attrs.field(factory=dict)

    def over(self, policies: PolicyIndex) -> "Outbounds":
        """Return them for other policies, with the memory if these say the same of destinations."""
        same = {kind for kind in OUTBOUND_KINDS if policies.kinds.get(kind) is self.policies.kinds.get(kind)}
        # Which endpoints a caller may use is a matter of its MeshLoadBalancingStrategy.
        endpoints = self._endpoints if OUTBOUND_KINDS[_STRATEGY] in same else {}
        if len(same) == len(OUTBOUND_KINDS):
            return Outbounds(self.mesh, policies, self._made, endpoints)
        return Outbounds(self.mesh, policies, endpoints=endpoints)

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
        timeouts, retry, breaker, strategy, health = (
            self._conf(kind, selected, service, port)
            for kind, selected in zip(OUTBOUND_KINDS, caller.selected, strict=True)
        )
        cluster = Cluster(
            name=cluster_name(service.name, port.port, service.kind),
            protocol=port.protocol,
            tls=self._tls(service, port, caller),
            load_balancing=translation.load_balancing(strategy, breaker, health),
            circuit_breaking=translation.circuit_breaking(breaker),
            outlier_detection=translation.outlier_detection(breaker),
            health_checks=translation.health_checks(health, port.protocol),
            timeouts=translation.timeouts(timeouts, defaults.OUTBOUND_TIMEOUTS),
        )
        route = Route(
            name=cluster.name,
            backends=(Backend(cluster=cluster.name),),
            retry=translation.retry_policy(retry, breaker, cluster.timeouts.request_s, protocol=port.protocol),
            timeouts=cluster.timeouts,
            hash_policies=translation.hash_policies(strategy),
        )
        return Towards(
            service=service,
            cluster=cluster,
            endpoints=self._endpoints_of(service, port, cluster.name, caller, strategy),
            origination=cluster_origination(service, cluster.name),
            route=route,
            retry_connects_max=translation.connect_retries_max(retry),
        )

    def _endpoints_of(
        self, service: Service, port: ServicePort, cluster: str, caller: Caller, strategy: Conf
    ) -> ClusterEndpoints:
        """Return the endpoints as callers of this place use them: the object that there was, unless they are others."""
        key = (service.kind, service.name, port.port, caller.place, caller.kept_tags, caller.selected[_STRATEGY])
        known = self._endpoints.get(key)
        if known is not None and known[0] is service:
            return known[1]
        endpoints = ClusterEndpoints(
            cluster=cluster,
            endpoints=placed(
                service.endpoints_by_port[port.port],
                caller.place,
                strategy,
                spans_zones=service.kind == MULTI_ZONE,
                kept_tags=caller.kept_tags,
            ),
        )
        if known is not None and known[1] == endpoints:
            endpoints = known[1]
        if len(self._endpoints) >= REMEMBERED_MAX:
            self._endpoints.clear()
        self._endpoints[key] = (service, endpoints)
        return endpoints

    def _tls(self, service: Service, port: ServicePort, caller: Caller) -> UpstreamTls | None:
        if service.kind == EXTERNAL:
            return None if service.origination is None else UpstreamTls()
        if not (caller.identified and service.secured):
            return None
        sni = server_name(service.name, port.port, self.mesh, service.kind)
        return UpstreamTls(expected_peers=service.spiffe_ids, sni=sni, parameters=caller.tls)

    def _conf(self, kind: str, selected: Selected, service: Service, port: ServicePort) -> Conf:
        return self.policies.towards(kind, selected, service, port, to_kind=service.kind)
