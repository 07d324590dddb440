"""MeshState: one mesh as the control plane sees it, and the configurations that follow from it.

Owns: the last index of the mesh and the last encoded configuration of each proxy. Does no I/O and knows no time: the
publisher decides when to look, and what to do with what changed.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.addressing import unresolved
from mesh.config.builder import build_snapshot
from mesh.config.dependencies import affected
from mesh.config.identities import Identity
from mesh.config.index import Delta, MeshIndex
from mesh.config.services import MESH_SERVICE
from mesh.config.view import DataplaneState, MeshView
from mesh.control.registry import LiveProxy
from mesh.discovery.encoding import EncodedSnapshot, PartEncoder, SharedParts
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
    _shared: SharedParts = attrs.field(factory=SharedParts, init=False)
    _known_ports: dict[str, tuple[ServicePort, ...]] = attrs.field(factory=dict, init=False)
    _secured: dict[str, None] = attrs.field(factory=dict, init=False)  # MeshServices, as they were last

    def __attrs_post_init__(self) -> None:
        self.index = MeshIndex.of(MeshView(mesh=self.mesh))

    def look(self, resources: tuple[Resource, ...], live: Iterable[LiveProxy]) -> MeshIndex:
        """Return an index of how things stand now, with the trust of the last one; nothing is taken over yet."""
        moved: dict[str, LiveProxy | None] = dict.fromkeys(self.index.view.dataplanes)
        moved |= {proxy.proxy.name: proxy for proxy in live}
        return self.look_again(resources, moved)

    def look_again(self, resources: tuple[Resource, ...], moved: Mapping[str, LiveProxy | None]) -> MeshIndex:
        """Do as `look` where the other proxies are as they were; those that left are None."""
        before = self.index.view
        states: Mapping[str, DataplaneState] = before.dataplanes
        if moved:
            states = dict(states)
            for name, proxy in moved.items():
                if proxy is None:
                    states.pop(name, None)
                else:
                    states[name] = _state(proxy, states.get(name))
        view = MeshView(
            mesh=self.mesh,
            resources=resources,
            dataplanes=states,
            trust=before.trust,
            known_ports=self._known_ports,
            secured=self._secured,
        )
        return MeshIndex.of(view, previous=self.index, moved=moved)

    def trust_domains(self, index: MeshIndex) -> tuple[str, ...]:
        """Return the trust domains of the mesh's identities; once known they stay, since peers may still be connected."""
        domains = set(self.index.view.trust)
        identities = (index.identity_by_name.get(name) for name in index.since(self.index).proxies)
        trusted = (found.spiffe_id for found in identities if isinstance(found, Identity) and found.creates_trust)
        for spiffe_id in dict.fromkeys(trusted):
            domains.add(SpiffeId.parse(spiffe_id).trust_domain)
        return tuple(sorted(domains))

    def take_over(self, index: MeshIndex, trust: Iterable[TrustBundle]) -> tuple[str, ...]:
        """Make `index` with this trust the current one; return the proxies whose configuration may differ, sorted."""
        roots = {bundle.trust_domain: bundle.roots_pem for bundle in trust}
        if roots != index.view.trust:
            index = index.with_trust(roots)
        before, self.index = self.index, index
        delta = index.since(before)
        self._remember_ports(index, delta)
        self._remember_secured(index, delta)
        for name in delta.proxies:
            if name not in index.view.dataplanes:
                self._encoders.pop(name, None)
        return affected(before, index)

    def build(self, proxy: str) -> EncodedSnapshot:
        """Build one proxy's configuration. Raises: ConfigError when it cannot have one."""
        encoder = self._encoders.get(proxy)
        if encoder is None:
            encoder = self._encoders[proxy] = PartEncoder(self._shared)
        return encoder.encode(build_snapshot(self.index, proxy))

    def unresolved(self, proxy: str) -> tuple[str, ...]:
        """Say which outbounds of a proxy lead nowhere."""
        return unresolved(self.index, proxy)

    def _remember_ports(self, index: MeshIndex, delta: Delta) -> None:
        """Keep the ports of services that nobody wrote: callers keep their listeners when the last instance leaves."""
        written = index.groups.of_kind(MESH_SERVICE)
        news: dict[str, tuple[ServicePort, ...]] = {}
        for kind, name in delta.services:
            service = index.services.by_key.get((kind, name))
            if kind == MESH_SERVICE and service is not None and name not in written:
                ports = tuple(service.port_by_number.values())
                if self._known_ports.get(name) != ports:
                    news[name] = ports
        if news:
            self._known_ports = {**self._known_ports, **news}

    def _remember_secured(self, index: MeshIndex, delta: Delta) -> None:
        """Keep which services are secured: a proxy that comes back from before that does not bring back plaintext."""
        secured = dict(self._secured)
        for kind, name in delta.services:
            if kind == MESH_SERVICE:
                service = index.services.by_key.get((kind, name))
                secured.pop(name, None)
                if service is not None and service.secured:
                    secured[name] = None
        if secured.keys() != self._secured.keys():
            self._secured = secured


def _state(proxy: LiveProxy, known: DataplaneState | None) -> DataplaneState:
    """Return a proxy's state: the same object, where nothing about it has changed."""
    ready, departure = proxy.readiness(), proxy.departure
    if (
        known is not None
        and known.resource is proxy.dataplane
        and known.inbound_ready == ready
        and known.departure is departure
        and known.holding == proxy.holding
    ):
        return known
    return DataplaneState(resource=proxy.dataplane, inbound_ready=ready, departure=departure, holding=proxy.holding)
