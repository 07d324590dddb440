"""Builder: the configuration of one proxy, from an index of its mesh. Pure: equal views give equal snapshots.

Without an identity a proxy speaks plaintext and enforces no permissions; with one, its inbounds take mutual TLS from
whom a MeshTrafficPermission allows, and nobody else.
"""

from collections.abc import Iterator

from mesh.config import defaults, translation
from mesh.config.addressing import reachable
from mesh.config.dependencies import ACTING_KINDS
from mesh.config.identities import Identity, Unfit
from mesh.config.index import MeshIndex
from mesh.config.merging import permissions
from mesh.config.outbounds import OUTBOUND_KINDS, Caller
from mesh.config.policies import Selected
from mesh.config.snapshot import (
    IdentityPart,
    InboundListener,
    Part,
    PassthroughPart,
    ProxyPart,
    Snapshot,
    TrustPart,
)
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.traffic import TlsMode
from mesh.resources.dataplane import Inbound, InboundState


def build_snapshot(index: MeshIndex, proxy: str) -> Snapshot:
    """Build the whole configuration of one proxy.

    Raises: KeyError when it is not in the view; ConfigError when it is to hold an identity that it cannot have.
    """
    return Snapshot.of(*_Build(index, proxy).parts())


class _Build:
    """One proxy's build: what is looked up once for all of its parts."""

    def __init__(self, index: MeshIndex, proxy: str) -> None:
        self.index = index
        self.proxy = proxy
        self.state = index.state(proxy)
        self.dataplane = self.state.dataplane
        self.identity = _fit(index.identity_by_name[proxy], self.state.resource.name)
        self.selected: dict[str, Selected] = {
            kind: index.policies.select(kind, self.state.resource, self.dataplane.inbounds) for kind in ACTING_KINDS
        }

    def parts(self) -> Iterator[Part]:
        labels = tuple(sorted(self.state.resource.labels.items()))
        workload, zone = self.state.workload, self.state.zone
        yield ProxyPart(mesh=self.index.view.mesh, name=self.proxy, zone=zone, workload=workload, labels=labels)
        if self.selected["MeshPassthrough"]:
            conf = self.index.policies.proxy_wide("MeshPassthrough", self.selected["MeshPassthrough"])
            yield PassthroughPart(passthrough=translation.passthrough(conf))
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
        caller = Caller(
            selected=tuple(self.selected[kind] for kind in OUTBOUND_KINDS), identified=self.identity is not None
        )
        built: set[str] = set()  # Two outbounds may lead to one cluster.
        listening: set[Address] = set()  # Whatever was written goes before a VIP.
        for outbound in reachable(self.index, self.proxy):
            towards = self.index.outbounds.towards(outbound.service, outbound.port, caller)
            if towards.cluster.name not in built:
                built.add(towards.cluster.name)
                yield towards.cluster
                yield towards.endpoints
                if towards.origination is not None:
                    yield towards.origination
            if outbound.address not in listening:
                listening.add(outbound.address)
                yield towards.listener(outbound.address)


def _fit(identity: Identity | Unfit | None, name: str) -> Identity | None:
    if isinstance(identity, Unfit):
        raise ConfigError([Violation(message=f"Dataplane '{name}' cannot hold an identity: {identity.reason}")])
    return identity
