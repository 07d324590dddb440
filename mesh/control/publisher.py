"""Publisher: turns changes of the mesh into configurations of the proxies that depend on them.

Owns: the state of each mesh, and which stream belongs to which proxy. Accepts: resources, joins, health, leavings.
Emits: `ProxyStream.want`. Changes within a short window are looked at once; only proxies that a change can reach are
recomputed, one at a time, so that streams are served in between.
"""

import attrs
import trio

from mesh.config.identities import Identity, Unfit, best_first, identity_of
from mesh.config.view import DataplaneState
from mesh.control.issuing import Issuer
from mesh.control.mesh_state import MeshState
from mesh.control.proxy_stream import ProxyStream
from mesh.control.registry import LiveProxy, Registry
from mesh.discovery.wake_up import WakeUp
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import ProxyId
from mesh.resources.resource import DEFAULT_MESH, Resource
from mesh.runtime.environment import Environment

RETRY_S = 1.0


def meshes_of(resources: tuple[Resource, ...]) -> tuple[str, ...]:
    """Return the meshes that exist, sorted: those written, those that something written belongs to, or the default one."""
    names = {resource.name for resource in resources if resource.kind == "Mesh"}
    names |= {resource.mesh for resource in resources if resource.mesh}
    return tuple(sorted(names)) or (DEFAULT_MESH,)


@attrs.define(eq=False, kw_only=True)
class Publisher:
    """All meshes of one control plane."""

    env: Environment
    registry: Registry
    issuer: Issuer
    coalesce_s: float
    resources: tuple[Resource, ...]
    streams: dict[ProxyId, ProxyStream] = attrs.field(factory=dict, init=False)
    _mesh_by_name: dict[str, MeshState] = attrs.field(factory=dict, init=False)
    _dirty: dict[str, None] = attrs.field(factory=dict, init=False)
    _wanting: dict[ProxyId, None] = attrs.field(factory=dict, init=False)  # streams that have nothing yet
    _changed: WakeUp = attrs.field(factory=WakeUp, init=False)
    _unresolved: dict[ProxyId, tuple[str, ...]] = attrs.field(factory=dict, init=False)

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

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Go by other resources from now on."""
        self.resources = resources
        self.all_changed()

    def all_changed(self) -> None:
        """Look at everything again soon."""
        for mesh in sorted({live.proxy.mesh for live in self.registry.proxies()}):
            self.mesh_changed(mesh)

    def identity_of(self, live: LiveProxy) -> Identity | Unfit | None:
        """Return the identity that a proxy is to hold by the resources of this moment."""
        mesh = live.proxy.mesh
        identities = best_first(item for item in self.resources if item.kind == "MeshIdentity" and item.mesh == mesh)
        return identity_of(DataplaneState(resource=live.dataplane), identities, mesh=mesh)

    async def run(self) -> None:
        """Publish changes until cancelled."""
        while True:
            await self._changed.wait()
            await trio.sleep(self.coalesce_s)
            began = trio.current_time()
            dirty, self._dirty = sorted(self._dirty), {}
            for mesh in dirty:
                await self._publish(self._mesh_by_name.setdefault(mesh, MeshState(mesh)))
            # In a large mesh that changes without end, at least as much time for the streams as for this.
            await trio.sleep(trio.current_time() - began)

    async def _publish(self, state: MeshState) -> None:
        live = [proxy for proxy in self.registry.proxies() if proxy.proxy.mesh == state.mesh]
        index = state.look(self.resources, live)
        domains = state.trust_domains(index)
        try:
            for trust_domain in domains:
                await self.issuer.ensure(trust_domain)
        except IdentityError as error:
            self.env.log.error("authority.not_created", mesh=state.mesh, reason=str(error))
            await trio.sleep(RETRY_S)
            self.mesh_changed(state.mesh)
            return
        bundles = [bundle for bundle in self.issuer.trust_bundles() if bundle.trust_domain in domains]
        due = [ProxyId(state.mesh, name) for name in state.take_over(index, bundles)]
        due += [proxy for proxy in self._wanting if proxy.mesh == state.mesh and proxy not in due]
        for proxy in due:
            # A proxy that joined after the look waits for the next one, which its join has asked for.
            if proxy in self.streams and proxy.name in state.index.view.dataplanes:
                self._configure(state, proxy)
                await trio.lowlevel.checkpoint()

    def _configure(self, state: MeshState, proxy: ProxyId) -> None:
        self._wanting.pop(proxy, None)
        try:
            snapshot = state.build(proxy.name)
        except ConfigError as error:
            self.env.log.error("configuration.not_built", mesh=proxy.mesh, proxy=proxy.name, reason=str(error))
            return
        self.streams[proxy].want(snapshot)
        unresolved = state.unresolved(proxy.name)
        if unresolved != self._unresolved.get(proxy, ()):
            self._unresolved[proxy] = unresolved
            for reason in unresolved:
                self.env.log.warning("outbound.unresolved", mesh=proxy.mesh, proxy=proxy.name, reason=reason)
