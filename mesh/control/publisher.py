"""Publisher: turns changes of the mesh into configurations of the proxies that depend on them.

Owns: the state of each mesh, and which stream belongs to which proxy. Accepts: changed meshes, joins, health, leavings.
Emits: `ProxyStream.want`. Changes within a short window are looked at once; only proxies that a change can reach are
recomputed, one at a time, so that streams are served in between.
"""

from collections.abc import Callable

import attrs
import trio

from mesh.config.identities import Identity, Unfit, best_first, identity_of
from mesh.config.index import MeshIndex
from mesh.config.view import DataplaneState
from mesh.control.catalogue import Catalogue
from mesh.control.issuing import Issuer
from mesh.control.mesh_state import MeshState
from mesh.control.proxy_stream import ProxyStream
from mesh.control.registry import LiveProxy, Registry
from mesh.discovery.encoding import EncodedSnapshot
from mesh.discovery.messages import MESSAGE_BYTES_MAX
from mesh.discovery.wake_up import WakeUp
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import ProxyId
from mesh.resources.resource import Resource
from mesh.runtime.environment import Environment

RETRY_S = 1.0


@attrs.define(eq=False, kw_only=True)
class Publisher:
    """All meshes of one control plane."""

    env: Environment
    registry: Registry
    issuer: Issuer
    catalogue: Catalogue
    coalesce_s: float
    configuration_bytes_max: int = MESSAGE_BYTES_MAX
    on_published: Callable[[ProxyStream], None] = lambda stream: None
    streams: dict[ProxyId, ProxyStream] = attrs.field(factory=dict, init=False)
    _mesh_by_name: dict[str, MeshState] = attrs.field(factory=dict, init=False)
    _dirty: dict[str, None] = attrs.field(factory=dict, init=False)
    _publishing: dict[str, None] = attrs.field(factory=dict, init=False)  # meshes that are being looked at
    _lacking: dict[str, None] = attrs.field(factory=dict, init=False)  # meshes for which authorities are being made
    _published: dict[str, int] = attrs.field(factory=dict, init=False)  # revisions, by mesh
    _wanting: dict[ProxyId, None] = attrs.field(factory=dict, init=False)  # streams that have nothing yet
    _changed: WakeUp = attrs.field(factory=WakeUp, init=False)
    _too_large: dict[ProxyId, None] = attrs.field(factory=dict, init=False)  # said, and still so
    _unresolved: dict[ProxyId, tuple[str, ...]] = attrs.field(factory=dict, init=False)
    _moved: dict[str, dict[str, None]] = attrs.field(factory=dict, init=False)  # by mesh: proxies not looked at since
    # By mesh: its resources, and the MeshIdentities among them as `best_first` sorts them.
    _identities: dict[str, tuple[tuple[Resource, ...], tuple[Resource, ...]]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.registry.on_change(self._on_moved)

    def attach(self, proxy: ProxyId, stream: ProxyStream) -> None:
        """Configure a proxy through this stream from now on."""
        self.streams[proxy] = stream
        self._wanting[proxy] = None
        self.mesh_changed(proxy.mesh)

    def detach(self, proxy: ProxyId, stream: ProxyStream) -> None:
        """Forget a stream, unless another has taken its place."""
        if self.streams.get(proxy) is stream:
            del self.streams[proxy]
            self._wanting.pop(proxy, None)

    def mesh_changed(self, mesh: str) -> None:
        """Look at a mesh again soon."""
        self._dirty[mesh] = None
        self._changed.set()

    def published_revision(self, mesh: str) -> int:
        """Return up to which revision of the catalogue the proxies of a mesh have been told what to do."""
        if any(mesh in unfinished for unfinished in (self._dirty, self._publishing, self._lacking)):
            return self._published.get(mesh, 0)
        return self.catalogue.revision

    def index_of(self, mesh: str) -> MeshIndex:
        """Return the mesh as it was looked at last; one without proxies is looked at now."""
        state = self._mesh_by_name.get(mesh)
        if state is not None and mesh in self._published:
            return state.index
        return MeshState(mesh).look(self.catalogue.of_mesh(mesh), self.registry.of_mesh(mesh))

    def identity_of(self, live: LiveProxy) -> Identity | Unfit | None:
        """Return the identity that a proxy is to hold by the resources of this moment."""
        mesh = live.proxy.mesh
        resources = self.catalogue.of_mesh(mesh)
        known, identities = self._identities.get(mesh, ((), ()))
        if known is not resources:
            identities = best_first(resource for resource in resources if resource.kind == "MeshIdentity")
            self._identities[mesh] = (resources, identities)
        return identity_of(DataplaneState(resource=live.dataplane), identities, mesh=mesh)

    def _on_moved(self, proxy: ProxyId) -> None:
        self._moved.setdefault(proxy.mesh, {})[proxy.name] = None

    async def run(self) -> None:
        """Publish changes until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._changed.wait()
                await trio.sleep(self.coalesce_s)
                began = trio.current_time()
                self._publishing, self._dirty = self._dirty, {}
                for mesh in sorted(self._publishing):
                    lacking = await self._publish_mesh(mesh)
                    if lacking and mesh not in self._lacking:
                        self._lacking[mesh] = None
                        nursery.start_soon(self._make_authorities, mesh, lacking)
                    del self._publishing[mesh]
                # In a large mesh that changes without end, at least as much time for the streams as for this.
                await trio.sleep(trio.current_time() - began)

    async def _make_authorities(self, mesh: str, trust_domains: tuple[str, ...]) -> None:
        """Try to make what a mesh lacks, then have it looked at again; it may take long, and other meshes do not wait."""
        try:
            for trust_domain in trust_domains:
                await self.issuer.ensure(mesh, trust_domain)
        except IdentityError as error:
            self.env.log.error("authority.not_created", mesh=mesh, reason=str(error))
            await trio.sleep(RETRY_S)
        del self._lacking[mesh]
        self.mesh_changed(mesh)

    async def _publish_mesh(self, mesh: str) -> tuple[str, ...]:
        """Publish a mesh; return the trust domains without whose authorities that cannot be done."""
        revision = self.catalogue.revision
        if mesh not in self.catalogue.meshes():
            for known in (self._mesh_by_name, self._published, self._moved, self._identities):
                known.pop(mesh, None)
            return ()
        lacking = await self._publish(mesh)
        if not lacking and self._published.get(mesh) != revision:
            self._published[mesh] = revision
            for proxy, stream in self.streams.items():
                if proxy.mesh == mesh:
                    self.on_published(stream)
        return lacking

    async def _publish(self, mesh: str) -> tuple[str, ...]:
        """Tell the proxies of a mesh what changed for them, unless authorities are lacking; return their trust domains."""
        state, moved = self._mesh_by_name.get(mesh), self._moved.pop(mesh, {})
        if state is None:
            state = self._mesh_by_name[mesh] = MeshState(mesh)
            moved = {live.proxy.name: None for live in self.registry.of_mesh(mesh)}
        index = state.look_again(
            self.catalogue.of_mesh(mesh), {name: self.registry.find(ProxyId(mesh, name)) for name in moved}
        )
        domains = state.trust_domains(index)
        lacking = tuple(domain for domain in domains if not self.issuer.serves(mesh, domain))
        if lacking:
            self._moved[mesh] = moved
            return lacking
        bundles = [bundle for bundle in self.issuer.trust_bundles(mesh) if bundle.trust_domain in domains]
        due = {ProxyId(mesh, name): None for name in state.take_over(index, bundles)}
        due |= {proxy: None for proxy in self._wanting if proxy.mesh == mesh}
        for proxy in due:
            # A proxy that joined after the look waits for the next one, which its join has asked for.
            if proxy in self.streams and proxy.name in state.index.view.dataplanes:
                self._configure(state, proxy)
                await trio.lowlevel.checkpoint()
        return ()

    def _configure(self, state: MeshState, proxy: ProxyId) -> None:
        self._wanting.pop(proxy, None)
        try:
            snapshot = state.build(proxy.name)
        except ConfigError as error:
            self.env.log.error("configuration.not_built", mesh=proxy.mesh, proxy=proxy.name, reason=str(error))
            return
        if self._is_too_large(proxy, snapshot):
            return
        stream = self.streams[proxy]
        if stream.publication.converged:
            stream.revision = self._published.get(proxy.mesh, 0)
        stream.want(snapshot)
        unresolved = state.unresolved(proxy.name)
        if unresolved != self._unresolved.get(proxy, ()):
            self._unresolved[proxy] = unresolved
            for reason in unresolved:
                self.env.log.warning("outbound.unresolved", mesh=proxy.mesh, proxy=proxy.name, reason=reason)

    def _is_too_large(self, proxy: ProxyId, snapshot: EncodedSnapshot) -> bool:
        """Is it more than a message takes? Then the proxy keeps what it has: sending would end its stream, again and again."""
        size_bytes = snapshot.size_bytes
        if size_bytes <= self.configuration_bytes_max:
            self._too_large.pop(proxy, None)
            return False
        if proxy not in self._too_large:
            self._too_large[proxy] = None
            self.env.log.error(
                "configuration.too_large",
                mesh=proxy.mesh,
                proxy=proxy.name,
                size_bytes=size_bytes,
                size_bytes_max=self.configuration_bytes_max,
            )
        return True
