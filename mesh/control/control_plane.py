"""ControlPlane: the actor that tells every sidecar of its meshes what to do, and hears from them how they are.

Owns nothing by itself: it puts together the stream server, the members with their leases, the publisher and the issuer,
each of which owns its part. Accepts: other resources (`replace_resources`), another server certificate (`use_tls`).
"""

import attrs
import trio

from mesh.control.issuing import Issuer, IssuerSettings
from mesh.control.members import Members
from mesh.control.proxy_stream import ProxyStream, PushDelay, StreamLimits
from mesh.control.publisher import Publisher, meshes_of
from mesh.control.registry import Leases, LiveProxy, Presence, Registry
from mesh.control.registry_file import RegistryFile
from mesh.control.stream_server import StreamServer
from mesh.discovery.messages import Refused
from mesh.discovery.publication import Refusal
from mesh.discovery.web_socket import MessageSocket
from mesh.identity.certificate import KeyType
from mesh.identity.tokens import TokenVerifier
from mesh.model.names import Address, ProxyId
from mesh.model.security import ServerTls
from mesh.resources.resource import DEFAULT_ZONE, Resource
from mesh.runtime.environment import Environment


@attrs.frozen(kw_only=True)
class ControlPlaneSettings:
    """What a control plane is started with. Spans in seconds.

    `push_delay_s` holds back each push, as a loaded control plane would; for simulation.
    """

    address: Address
    resources: tuple[Resource, ...] = ()
    tls: ServerTls | None  # None: plaintext, for this host alone or for tests
    token_verifier: TokenVerifier
    zone: str = DEFAULT_ZONE  # of Dataplanes that name none
    key_type: KeyType = KeyType.ECDSA_P256
    state_folder: str = "control-plane"
    heartbeat_s: float = 3.0
    leases: Leases = Leases()
    coalesce_s: float = 0.05
    limits: StreamLimits = StreamLimits()
    push_delay_s: PushDelay | None = None


@attrs.frozen(kw_only=True)
class ProxyStatus:
    """How it stands with one proxy. Versions are empty where there is none; `refusal` is about the wanted version."""

    proxy: ProxyId
    presence: Presence
    wanted_version: str = ""
    sent_version: str = ""
    acked_version: str = ""
    refusal: Refusal | None = None
    certificate_expires: float | None = None  # seconds since the epoch, of the newest one that it has
    inbounds: tuple[tuple[str, bool], ...] = ()  # (name, ready), as reported

    @property
    def connected(self) -> bool:
        return self.presence is Presence.CONNECTED

    @property
    def converged(self) -> bool:
        """Whether what the proxy should have is live there."""
        return self.connected and bool(self.wanted_version) and self.wanted_version == self.acked_version


class ControlPlane:
    """One control plane. State that outlives it lies on the disk of its environment."""

    def __init__(self, env: Environment, settings: ControlPlaneSettings) -> None:
        assert settings.leases.silence_s > 2 * settings.heartbeat_s, "a lease spans some heartbeats"
        self._env = env
        self._settings = settings
        folder = settings.state_folder
        issuer_settings = IssuerSettings(folder=f"{folder}/authorities", key_type=settings.key_type)
        self._registry = Registry(settings.leases)
        self._file = RegistryFile(env, self._registry, f"{folder}/registry.json")
        self._issuer = Issuer(env, issuer_settings, self._on_trust_changed)
        self._publisher = Publisher(
            env=env,
            registry=self._registry,
            issuer=self._issuer,
            coalesce_s=settings.coalesce_s,
            resources=settings.resources,
        )
        self._members = Members(
            env=env,
            registry=self._registry,
            file=self._file,
            publisher=self._publisher,
            issuer=self._issuer,
            verifier=settings.token_verifier,
            zone=settings.zone,
            heartbeat_s=settings.heartbeat_s,
        )
        self._server = StreamServer(env, self._make_stream)
        self._server.use_tls(settings.tls)

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the address once sidecars can connect.

        Raises: ConfigError when the address cannot be had, IdentityError when an authority on disk is damaged.
        """
        await self._issuer.load()
        await self._file.restore()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._file.run)
            nursery.start_soon(self._publisher.run)
            nursery.start_soon(self._issuer.run)
            nursery.start_soon(self._members.run)
            address = await nursery.start(self._server.run, self._settings.address)
            self._env.log.info("control_plane.started", address=str(address), proxies_known=len(self._registry))
            task_status.started(address)

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Go by other resources from now on; what changes by that is pushed to whom it concerns."""
        self._env.log.info("control_plane.resources_replaced", resources=len(resources))
        self._publisher.replace_resources(resources)
        meshes = meshes_of(resources)
        for proxy, stream in self._publisher.streams.items():
            if proxy.mesh not in meshes:
                reason = f"the mesh {proxy.mesh!r} is no more"
                stream.dismiss(Refused(kind="mesh", reason=reason, retryable=False))

    def use_tls(self, tls: ServerTls | None) -> None:
        """Present another certificate to sidecars that connect from now on."""
        self._server.use_tls(tls)
        self._env.log.info("control_plane.certificate_renewed")

    def status(self) -> tuple[ProxyStatus, ...]:
        """Return how it stands with each live proxy, sorted by mesh and name."""
        return tuple(self._status_of(live) for live in self._registry.proxies())

    def _status_of(self, live: LiveProxy) -> ProxyStatus:
        inbounds = tuple(sorted(live.inbounds.items()))
        stream = self._publisher.streams.get(live.proxy)
        if stream is None:
            return ProxyStatus(proxy=live.proxy, presence=live.presence, inbounds=inbounds)
        publication = stream.publication
        return ProxyStatus(
            proxy=live.proxy,
            presence=live.presence,
            wanted_version=publication.wanted.version if publication.wanted else "",
            sent_version=publication.sent_version,
            acked_version=publication.acked_version,
            refusal=publication.refusal,
            certificate_expires=stream.certificate_expires,
            inbounds=inbounds,
        )

    def _make_stream(self, socket: MessageSocket) -> ProxyStream:
        return ProxyStream(
            env=self._env,
            socket=socket,
            membership=self._members,
            limits=self._settings.limits,
            silence_s=self._settings.leases.silence_s,
            push_delay_s=self._settings.push_delay_s,
        )

    def _on_trust_changed(self) -> None:
        self._publisher.all_changed()
