"""ControlPlane: the actor that tells every sidecar of its meshes what to do, and hears from them how they are.

Owns nothing by itself: it puts together the catalogue, the stream server, the members with their leases, the publisher
and the issuer, each of which owns its part. Accepts: other resources from files (`replace_resources`); everybody else
writes to the `catalogue`. What outlives it lies in its store, which it may share with other control planes.
"""

from collections.abc import Sequence

import attrs
import trio

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.snapshot import Snapshot
from mesh.control import file_resources
from mesh.control.admission import Admission
from mesh.control.bootstrap import ControlPlaneSecrets, keep_server_certificate, read_secrets
from mesh.control.catalogue import Catalogue, MakeSigningKey, make_signing_key
from mesh.control.cut_off import CutOff
from mesh.control.first_start import FirstStart
from mesh.control.insights import Insight, Insights
from mesh.control.instance_name import next_name
from mesh.control.issuing import Issuer, IssuerSettings
from mesh.control.members import Members
from mesh.control.old_registry import restore_old_registry
from mesh.control.preview import Preview, ProxyPreview, preview_mesh
from mesh.control.proxy_stream import HoldPush, ProxyStream, StreamLimits
from mesh.control.publisher import Publisher
from mesh.control.registry import Leases, Presence, Registry
from mesh.control.shared_members import SharedMembers
from mesh.control.status import ProxyStatus, delivery_of, status_of
from mesh.control.store.store import Store
from mesh.control.store.values import AuditEntry, Delete, Key, Put
from mesh.control.stream_server import StreamServer
from mesh.discovery.messages import Refused
from mesh.discovery.web_socket import MessageSocket
from mesh.identity.certificate import KeyType
from mesh.identity.token_authority import TokenAuthority, TokenKind, revocations_secret
from mesh.model.errors import ConfigError, StoreError
from mesh.model.names import Address, ProxyId
from mesh.model.security import ServerTls
from mesh.resources.resource import DEFAULT_ZONE, Resource
from mesh.resources.secret import Secret
from mesh.runtime.environment import Environment

STORE_RETRY_S = 1.0


@attrs.frozen(kw_only=True)
class ControlPlaneSettings:
    """What a control plane is started with. Spans in seconds.

    `resources` are those of its files; None: it has no files, and leaves what others may have is alone. `shared_store`:
    other control planes use its store too. `hold_push` may hold each push back, as a loaded control plane would.
    """

    address: Address
    resources: tuple[Resource, ...] | None = None
    server_names: tuple[str, ...] = ()  # under which sidecars call; for the certificate
    plaintext: bool = False  # for tests
    zone: str = DEFAULT_ZONE  # of Dataplanes that name none
    host_name: str = ""  # begins the name of this control plane; empty: the environment's
    key_type: KeyType = KeyType.ECDSA_P256
    new_signing_key: MakeSigningKey = make_signing_key
    issuer: IssuerSettings | None = None
    shared_store: bool = False
    heartbeat_s: float = 3.0
    leases: Leases = Leases()
    coalesce_s: float = 0.05
    insight_interval_s: float = 10.0  # between two writes of what was observed. Source: Kuma
    limits: StreamLimits = StreamLimits()
    hold_push: HoldPush | None = None


class ControlPlane:
    """One control plane: `prepare`, then `run`."""

    secrets: ControlPlaneSecrets  # from `prepare` on
    instance: str  # our name among the control planes, from `prepare` on

    def __init__(self, env: Environment, settings: ControlPlaneSettings, store: Store) -> None:
        assert settings.leases.silence_s > 2 * settings.heartbeat_s, "a lease spans some heartbeats"
        self._env = env
        self._settings = settings
        self._store = store
        self.tokens = TokenAuthority()
        self.catalogue = Catalogue(store, live_dataplanes=self._live_names)
        self._registry = Registry(settings.leases)
        self._insights = Insights(instance="")
        self._issuer = Issuer(
            env,
            settings.issuer or IssuerSettings(key_type=settings.key_type),
            self.catalogue,
            lambda mesh: self._publisher.mesh_changed(mesh),
        )
        self._publisher = Publisher(
            env=env,
            registry=self._registry,
            issuer=self._issuer,
            catalogue=self.catalogue,
            coalesce_s=settings.coalesce_s,
            configuration_bytes_max=settings.limits.configuration_bytes_max,
            on_published=self._on_published,
        )
        self._shared: SharedMembers
        self._members: Members
        self._server = StreamServer(env, self._make_stream)

    async def prepare(self) -> None:
        """Read the store and make what is missing in it; comes before `run`, once.

        Raises: ConfigError (the files' resources cannot be used), IdentityError (a key is damaged), StoreError, OSError.
        """
        settings, env = self._settings, self._env
        self.instance = self._insights.instance = await next_name(env, settings.host_name or env.host)
        self._put_members_together()
        await self.catalogue.load()
        self.catalogue.new_mesh_key, started_anew = settings.new_signing_key, self.catalogue.revision == 0
        first_start = FirstStart(
            env=env, catalogue=self.catalogue, key_type=settings.key_type, new_signing_key=settings.new_signing_key
        )
        await first_start.run()
        if settings.resources is not None:
            await file_resources.take_over(settings.resources, self.catalogue)
        self.catalogue.new_mesh_key = settings.new_signing_key  # No later mesh gets an older version's key.
        self._issuer.load()
        self._tell_tokens(tuple(resource.key for resource in self.catalogue.resources()))
        self.catalogue.on_change(self._on_resources_changed)
        self.secrets = read_secrets(self.catalogue, settings.server_names, key_type=settings.key_type)
        await self._shared.restore()
        if started_anew:
            await restore_old_registry(env, self._registry, self._shared)

    def _put_members_together(self) -> None:
        settings = self._settings
        self._shared = SharedMembers(
            env=self._env,
            store=self._store,
            registry=self._registry,
            insights=self._insights,
            instance=self.instance,
            shared=settings.shared_store,
            insight_interval_s=settings.insight_interval_s,
            insight_of=self.insight,
            on_change=lambda proxy: self._members.changed_elsewhere(proxy),
            on_taken=lambda proxy: self._members.taken(proxy),
        )
        admission = Admission(
            tokens=self.tokens, meshes=self.catalogue.meshes, find=self._applied_dataplane, zone=settings.zone
        )
        self._members = Members(
            env=self._env,
            registry=self._registry,
            insights=self._insights,
            shared=self._shared,
            publisher=self._publisher,
            issuer=self._issuer,
            admission=admission,
            heartbeat_s=settings.heartbeat_s,
        )

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the address once sidecars can connect.

        Raises: ConfigError when the address cannot be had.
        """
        if not self._settings.plaintext:
            self.use_tls(self.secrets.server_tls(self._env))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publisher.run)
            nursery.start_soon(self._issuer.run)
            nursery.start_soon(self._members.run)
            if not self._settings.plaintext:
                nursery.start_soon(keep_server_certificate, self._env, self.secrets, self._renew_tls)
            if self._settings.shared_store:
                nursery.start_soon(self._follow_store)
                nursery.start_soon(self._cut_off().run)
            address = await nursery.start(self._server.run, self._settings.address)
            nursery.start_soon(self._shared.run, str(address))
            for mesh in self.catalogue.meshes():
                self._publisher.mesh_changed(mesh)
            self._env.log.info(
                "control_plane.started",
                address=str(address),
                instance=self.instance,
                resources=len(self.catalogue.resources()),
                proxies_known=len(self._registry),
            )
            task_status.started(address)

    async def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Go by other resources of our files from now on; all or none. Raises: ConfigError, StoreError."""
        await file_resources.take_over(resources, self.catalogue)
        self._env.log.info("control_plane.resources_replaced", resources=len(resources))

    async def replace_roots(self, mesh: str, *, overlap: bool = True, propagation_s: float | None = None) -> None:
        """Let new roots follow those of all trust domains of a mesh; see `Issuer.replace_root`, also for what it raises."""
        for bundle in self._issuer.trust_bundles(mesh):
            await self._issuer.replace_root(mesh, bundle.trust_domain, overlap=overlap, propagation_s=propagation_s)

    def use_tls(self, tls: ServerTls) -> None:
        """Present this certificate to sidecars that connect from now on."""
        self._server.use_tls(tls)

    def status(self) -> tuple[ProxyStatus, ...]:
        """Return how it stands with each live proxy of the installation, sorted by mesh and name."""
        now = self._env.wall_clock()
        return tuple(
            status_of(live, self.insight(live.proxy), instance=self.instance, now=now)
            for live in self._registry.proxies()
        )

    def insight(self, proxy: ProxyId) -> Insight:
        """Return what was observed of a proxy."""
        insight, stream = self._insights.of(proxy), self._publisher.streams.get(proxy)
        if stream is None:
            return insight
        published = self._publisher.published_revision(proxy.mesh)
        return attrs.evolve(insight, delivery=delivery_of(stream, published_revision=published))

    def published_revision(self, mesh: str) -> int:
        """Return up to which revision proxies of a mesh have been told what to do, by all control planes."""
        others = (
            self._insights.of(live.proxy).delivery.published
            for live in self._registry.of_mesh(mesh)
            if live.instance and live.presence is Presence.CONNECTED
        )
        return min([self._publisher.published_revision(mesh), *others])

    def index_of(self, mesh: str) -> MeshIndex | None:
        """Return a mesh as proxies are configured by it; None when there is none."""
        return self._publisher.index_of(mesh) if mesh in self.catalogue.meshes() else None

    def snapshot_of(self, proxy: ProxyId) -> Snapshot | None:
        """Return what a proxy is, or would be, configured with; None when it is not there. Raises: ConfigError."""
        index = self.index_of(proxy.mesh)
        if index is None or proxy.name not in index.view.dataplanes:
            return None
        return build_snapshot(index, proxy.name)

    def preview(self, changes: Sequence[Put | Delete]) -> Preview:
        """Say what a write would change for whom. Raises: ConfigError when it cannot be made."""
        violations = self.catalogue.check(changes)
        if violations:
            raise ConfigError(violations)
        found: list[ProxyPreview] = []
        for mesh, resources in self.catalogue.after(changes).items():
            index = self.index_of(mesh)
            if index is not None:
                found += preview_mesh(index, resources)
        return Preview(proxies=tuple(found))

    def dataplanes(self, mesh: str) -> tuple[Resource, ...]:
        """Return the Dataplanes of a mesh: those applied, and those that sidecars joined with; sorted by name."""
        by_name = {stored.resource.name: stored.resource for stored in self.catalogue.list("Dataplane", mesh)}
        for live in self._registry.of_mesh(mesh):
            connections = self._insights.of(live.proxy).subscriptions
            created = connections[0].connected if connections else 0.0
            by_name.setdefault(live.proxy.name, attrs.evolve(live.dataplane, created=created))
        return tuple(by_name[name] for name in sorted(by_name))

    async def audit(self, *, limit: int, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Return entries of the audit log, the newest first. Raises: StoreError."""
        return await self._store.audit(limit=limit, before=before)

    async def note(self, action: str, key: Key, *, by: str, reason: str) -> None:
        """Add to the audit log what changed no resource; durable on return. Raises: StoreError."""
        await self._store.note(action, key, by=by, reason=reason)

    def store_silence_s(self) -> float:
        """Return for how many seconds we have been cut off from the store that we share with others; 0: we are not."""
        return trio.current_time() - self._shared.reached_at if self._shared.cut_off else 0.0

    def _cut_off(self) -> CutOff:
        return CutOff(
            env=self._env,
            registry=self._registry,
            shared=self._shared,
            members=self._members,
            streams=self._publisher.streams,
        )

    async def _follow_store(self) -> None:
        """Take over what other control planes write, until cancelled."""
        while True:
            await self._store.wait_changed()
            while not await self._caught_up():  # The news was heard: nobody may tell us of it again.
                await trio.sleep(STORE_RETRY_S)

    async def _caught_up(self) -> bool:
        try:
            await self.catalogue.refresh()
            await self._shared.refresh()
        except StoreError as error:
            self._env.log.warning("store.not_followed", reason=str(error))
            return False
        return True

    def _on_resources_changed(self, keys: tuple[Key, ...]) -> None:
        self._tell_tokens(keys)
        for kind, mesh, name in keys:
            if kind == "Dataplane":
                self._members.dataplane_applied(mesh, name, self._applied_dataplane(mesh, name))
            elif mesh and (kind, mesh, name) == revocations_secret(TokenKind.DATAPLANE, mesh=mesh):
                self._members.revoked(mesh)
        for mesh in self.catalogue.meshes_changed_by(keys):
            self._publisher.mesh_changed(mesh)
        meshes = self.catalogue.meshes()
        for proxy, stream in self._publisher.streams.items():
            if proxy.mesh not in meshes:
                reason = f"the mesh {proxy.mesh!r} is no more"
                stream.dismiss(Refused(kind="mesh", reason=reason, retryable=False))

    def _tell_tokens(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            if key[0] in ("Secret", "GlobalSecret"):
                stored = self.catalogue.get(key)
                self.tokens.secret_changed(key, stored.resource.spec_as(Secret).data if stored else None)

    def _on_published(self, stream: ProxyStream) -> None:
        if self._settings.shared_store:
            self._shared.observed(stream.proxy)

    def _applied_dataplane(self, mesh: str, name: str) -> Resource | None:
        stored = self.catalogue.get(("Dataplane", mesh, name))
        return stored.resource if stored else None

    def _live_names(self, mesh: str) -> tuple[str, ...]:
        return tuple(live.proxy.name for live in self._registry.of_mesh(mesh))

    def _renew_tls(self, tls: ServerTls) -> None:
        self.use_tls(tls)
        self._env.log.info("control_plane.certificate_renewed")

    def _make_stream(self, socket: MessageSocket) -> ProxyStream:
        return ProxyStream(
            env=self._env,
            socket=socket,
            membership=self._members,
            limits=self._settings.limits,
            silence_s=self._settings.leases.silence_s,
            hold_push=self._settings.hold_push,
        )
