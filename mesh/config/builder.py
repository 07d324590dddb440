"""Builder: the configuration of one proxy, from an index of its mesh. Pure: equal views give equal snapshots.

Without an identity a proxy speaks plaintext and enforces no permissions; with one, its inbounds take mutual TLS from
whom a MeshTrafficPermission allows, and nobody else.
"""

from collections.abc import Iterator

from mesh.config import defaults, translation
from mesh.config.identities import Identity, Unfit
from mesh.config.index import MeshIndex
from mesh.config.merging import permissions
from mesh.config.policies import Selected
from mesh.config.services import Service, resolve
from mesh.config.snapshot import (
    Cluster,
    ClusterEndpoints,
    IdentityPart,
    InboundListener,
    OutboundListener,
    Part,
    ProxyPart,
    Route,
    Snapshot,
    TrustPart,
    UpstreamTls,
)
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.traffic import TlsMode
from mesh.resources.dataplane import Inbound, InboundState
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf

_KINDS = (
    "MeshTimeout",
    "MeshRetry",
    "MeshCircuitBreaker",
    "MeshLoadBalancingStrategy",
    "MeshTLS",
    "MeshTrafficPermission",
)


def build_snapshot(index: MeshIndex, proxy: str) -> Snapshot:
    """Build the whole configuration of one proxy.

    Raises: KeyError when it is not in the view; ConfigError when it is to hold an identity that it cannot have.
    """
    return Snapshot.of(*_Build(index, proxy).parts())


def cluster_name(service: str, port: int) -> str:
    """Name the cluster of one port of a service."""
    return f"{service}_{port}"


def server_name(service: str, port: int, mesh: str) -> str:
    """Name a destination in TLS (SNI)."""
    return f"{port}.{service}.{mesh}.mesh.local"


class _Build:
    """One proxy's build: what is looked up once for all of its parts."""

    def __init__(self, index: MeshIndex, proxy: str) -> None:
        self.index = index
        self.proxy = proxy
        self.state = index.state(proxy)
        self.dataplane = self.state.dataplane
        self.identity = _fit(index.identity_by_name[proxy], self.state.resource.name)
        self.selected: dict[str, Selected] = {
            kind: index.policies.select(kind, self.state.resource, self.dataplane.inbounds) for kind in _KINDS
        }

    def parts(self) -> Iterator[Part]:
        labels = tuple(sorted(self.state.resource.labels.items()))
        workload, zone = self.state.workload, self.state.zone
        yield ProxyPart(mesh=self.index.view.mesh, name=self.proxy, zone=zone, workload=workload, labels=labels)
        if self.identity is not None:
            for domain, roots_pem in self.index.trust.items():
                yield TrustPart(trust_domain=domain, roots_pem=roots_pem)
            lifetime_s = self.identity.certificate_lifetime_s
            yield IdentityPart(spiffe_id=self.identity.spiffe_id, certificate_lifetime_s=lifetime_s)
        for inbound in self.dataplane.inbounds:
            if inbound.state is not InboundState.IGNORED:
                yield self._inbound(inbound)
        yield from self._outbounds()

    def _inbound(self, inbound: Inbound) -> InboundListener:
        policies, selected = self.index.policies, self.selected
        secured = self.identity is not None
        tls = policies.at("MeshTLS", selected["MeshTLS"], inbound)
        allowed = policies.rules("MeshTrafficPermission", selected["MeshTrafficPermission"], inbound)
        timeouts = policies.at("MeshTimeout", selected["MeshTimeout"], inbound)
        breaker = policies.at("MeshCircuitBreaker", selected["MeshCircuitBreaker"], inbound)
        return InboundListener(
            name=inbound.name,
            address=inbound.address,
            application=inbound.application,
            protocol=inbound.protocol,
            service=self.state.workload,
            tls_mode=translation.tls_mode(tls) if secured else TlsMode.OFF,
            permissions=permissions(allowed) if secured else None,
            timeouts=translation.timeouts(timeouts, defaults.INBOUND_TIMEOUTS),
            circuit_breaking=translation.circuit_breaking(breaker),
        )

    def _outbounds(self) -> Iterator[Part]:
        built: set[str] = set()  # Two outbounds may lead to one cluster.
        for outbound in self.dataplane.outbounds:
            service = resolve(outbound.backend, self.index.service_by_name)
            port = service.port_by_number.get(outbound.backend.port) if service else None
            if service is None or port is None:
                continue
            cluster = self._cluster(service, port)
            if cluster.name not in built:
                built.add(cluster.name)
                yield cluster
                yield ClusterEndpoints(cluster=cluster.name, endpoints=service.endpoints_by_port[port.port])
            yield self._listener(outbound.address, cluster, service, port)

    def _cluster(self, service: Service, port: ServicePort) -> Cluster:
        breaker = self._towards("MeshCircuitBreaker", service, port)
        strategy = self._towards("MeshLoadBalancingStrategy", service, port)
        timeouts = self._towards("MeshTimeout", service, port)
        tls = None
        if self.identity is not None and service.secured:
            sni = server_name(service.name, port.port, self.index.view.mesh)
            tls = UpstreamTls(expected_peers=service.spiffe_ids, sni=sni)
        return Cluster(
            name=cluster_name(service.name, port.port),
            protocol=port.protocol,
            tls=tls,
            load_balancing=translation.load_balancing(strategy, breaker),
            circuit_breaking=translation.circuit_breaking(breaker),
            outlier_detection=translation.outlier_detection(breaker),
            timeouts=translation.timeouts(timeouts, defaults.OUTBOUND_TIMEOUTS),
        )

    def _listener(self, address: Address, cluster: Cluster, service: Service, port: ServicePort) -> OutboundListener:
        retry = self._towards("MeshRetry", service, port)
        breaker = self._towards("MeshCircuitBreaker", service, port)
        route = Route(
            name=cluster.name,
            cluster=cluster.name,
            retry=translation.retry_policy(retry, breaker, cluster.timeouts.request_s),
            timeouts=cluster.timeouts,
        )
        return OutboundListener(
            name=str(address),
            address=address,
            protocol=port.protocol,
            routes=(route,),
            retry_connects_max=translation.connect_retries_max(retry),
        )

    def _towards(self, kind: str, service: Service, port: ServicePort) -> Conf:
        return self.index.policies.towards(kind, self.selected[kind], service, port)


def _fit(identity: Identity | Unfit | None, name: str) -> Identity | None:
    if isinstance(identity, Unfit):
        raise ConfigError([Violation(message=f"Dataplane '{name}' cannot hold an identity: {identity.reason}")])
    return identity
