"""Builder: the configuration of one proxy, from an index of its mesh. Pure: equal views give equal snapshots.

Without an identity a proxy speaks plaintext and enforces no permissions; with one, its inbounds take mutual TLS from
whom a MeshTrafficPermission allows, and nobody else.
"""

from collections.abc import Iterator

from mesh.config import translation
from mesh.config.addressing import reachable
from mesh.config.dependencies import ACTING_KINDS
from mesh.config.identities import Identity, Unfit
from mesh.config.inbounds import Inbounds
from mesh.config.index import MeshIndex
from mesh.config.outbounds import Caller
from mesh.config.policies import Selected
from mesh.config.snapshot import (
    IdentityPart,
    Part,
    PassthroughPart,
    ProxyPart,
    Snapshot,
    TrustPart,
)
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.resources.dataplane import InboundState


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
        inbounds = Inbounds(
            policies=self.index.policies, selected=self.selected, service=workload, secured=self.identity is not None
        )
        for inbound in self.dataplane.inbounds:
            if inbound.state is not InboundState.IGNORED:
                yield inbounds.listener(inbound)
        yield from self._outbounds()

    def _outbounds(self) -> Iterator[Part]:
        identified = self.identity is not None
        caller = Caller.of(self.index.policies, self.selected, self.state, identified=identified)
        built: set[str] = set()  # Two outbounds, or two routes, may lead to one cluster.
        listening: set[Address] = set()  # Whatever was written goes before a VIP.
        for outbound in reachable(self.index, self.proxy):
            reached = self.index.outbounds.outbound(
                outbound.service, outbound.port, caller, self.selected, self.index.services
            )
            for towards in reached.towards:
                if towards.cluster.name not in built:
                    built.add(towards.cluster.name)
                    yield towards.cluster
                    yield towards.endpoints
                    if towards.origination is not None:
                        yield towards.origination
            if outbound.address not in listening:
                listening.add(outbound.address)
                yield reached.listener(outbound.address)


def _fit(identity: Identity | Unfit | None, name: str) -> Identity | None:
    if isinstance(identity, Unfit):
        raise ConfigError([Violation(message=f"Dataplane '{name}' cannot hold an identity: {identity.reason}")])
    return identity
