"""MeshState: one mesh as the control plane sees it, and the configurations that follow from it.

Owns: the last index of the mesh and the last encoded configuration of each proxy. Does no I/O and knows no time: the
publisher decides when to look, and what to do with what changed.
"""

from collections.abc import Iterable

import attrs

from mesh.config.addressing import unresolved
from mesh.config.builder import build_snapshot
from mesh.config.dependencies import affected
from mesh.config.identities import Identity
from mesh.config.index import MeshIndex
from mesh.config.services import Service
from mesh.config.view import DataplaneState, MeshView
from mesh.control.registry import LiveProxy
from mesh.discovery.encoding import EncodedSnapshot, PartEncoder
from mesh.model.names import SpiffeId
from mesh.model.security import TrustBundle
from mesh.resources.mesh_service import ServicePort
from mesh.resources.resource import Resource


@attrs.define(eq=False)
class MeshState:
    """Everything about one mesh, between two looks at it."""

    mesh: str
    index: MeshIndex = attrs.field(init=False)
    _encoders: dict[str, PartEncoder] = attrs.field(factory=dict, init=False)
    _known_ports: dict[str, tuple[ServicePort, ...]] = attrs.field(factory=dict, init=False)
    _ports_known_of: dict[str, Service] = attrs.field(factory=dict, init=False)
    _domain_by_id: dict[str, str] = attrs.field(factory=dict, init=False)  # of SPIFFE IDs, ever seen

    def __attrs_post_init__(self) -> None:
        self.index = MeshIndex.of(MeshView(mesh=self.mesh))

    def look(self, resources: tuple[Resource, ...], live: Iterable[LiveProxy]) -> MeshIndex:
        """Return an index of how things stand now, with the trust of the last one; nothing is taken over yet."""
        before = self.index.view
        states: dict[str, DataplaneState] = {}
        for proxy in live:
            known = before.dataplanes.get(proxy.proxy.name)
            ready = proxy.readiness()
            if known is None or known.resource is not proxy.dataplane or known.inbound_ready != ready:
                known = DataplaneState(resource=proxy.dataplane, inbound_ready=ready)
            states[proxy.proxy.name] = known
        view = MeshView(
            mesh=self.mesh,
            resources=resources,
            dataplanes=states,
            trust=before.trust,
            known_ports=self._known_ports,
        )
        return MeshIndex.of(view, previous=self.index)

    def trust_domains(self, index: MeshIndex) -> tuple[str, ...]:
        """Return the trust domains of the mesh's identities; once known they stay, since peers may still be connected."""
        for identity in index.identity_by_name.values():
            if isinstance(identity, Identity) and identity.spiffe_id not in self._domain_by_id:
                self._domain_by_id[identity.spiffe_id] = SpiffeId.parse(identity.spiffe_id).trust_domain
        return tuple(sorted(set(self._domain_by_id.values())))

    def take_over(self, index: MeshIndex, trust: Iterable[TrustBundle]) -> tuple[str, ...]:
        """Make `index` with this trust the current one; return the proxies whose configuration may differ, sorted."""
        roots = {bundle.trust_domain: bundle.roots_pem for bundle in trust}
        if roots != index.view.trust:
            index = MeshIndex.of(attrs.evolve(index.view, trust=roots), previous=index)
        before, self.index = self.index, index
        self._remember_ports(index)
        for name in [name for name in self._encoders if name not in index.view.dataplanes]:
            del self._encoders[name]
        return affected(before, index)

    def build(self, proxy: str) -> EncodedSnapshot:
        """Build one proxy's configuration. Raises: ConfigError when it cannot have one."""
        encoder = self._encoders.setdefault(proxy, PartEncoder())
        return encoder.encode(build_snapshot(self.index, proxy))

    def unresolved(self, proxy: str) -> tuple[str, ...]:
        """Say which outbounds of a proxy lead nowhere."""
        return unresolved(self.index, proxy)

    def _remember_ports(self, index: MeshIndex) -> None:
        """Keep the ports of services that nobody wrote: callers keep their listeners when the last instance leaves."""
        news: dict[str, tuple[ServicePort, ...]] = {}
        for name, service in index.service_by_name.items():
            if self._ports_known_of.get(name) is not service:
                self._ports_known_of[name] = service
                ports = tuple(service.port_by_number.values())
                if self._known_ports.get(name) != ports:
                    news[name] = ports
        if news:
            written = index.groups.of_kind("MeshService")
            made = {name: ports for name, ports in news.items() if name not in written}
            self._known_ports = {**self._known_ports, **made}
