"""ControlPlaneClient: the actor in a sidecar that keeps it configured, with and without a control plane.

Owns: the held configuration, the identity, the connection. Accepts: readiness of inbounds (`report_health`).
Emits: `apply` and `use_identity` on its target. At the start it applies what was kept on disk, before any connection;
an outage of the control plane changes nothing but that nothing changes any more.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from mesh.config.snapshot import IdentityPart
from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint, Rotation, open_stream
from mesh.discovery.encoding import EncodedSnapshot
from mesh.discovery.identity_keeper import IdentityKeeper
from mesh.discovery.last_good import LastGood
from mesh.discovery.messages import PATH, Nack, Welcome
from mesh.discovery.reconnection import Reconnection, ReconnectionBackoff
from mesh.discovery.session import ConfigurationTarget, Readiness, RefusedByControlPlane, Session
from mesh.discovery.subscription import Subscription
from mesh.discovery.wake_up import WakeUp
from mesh.discovery.web_socket import MessageSocket, converse_as_client
from mesh.identity.certificate import KeyType
from mesh.model.departure import Departure
from mesh.model.errors import BrokenConnection, ConfigError, IdentityError, RemoteProtocolError
from mesh.model.names import Address
from mesh.model.security import ClientTls, Svid
from mesh.runtime.environment import Environment

GOODBYE_S_MAX = 1.0

__all__ = ["ClientStatus", "ConfigurationTarget", "ControlPlaneClient", "ControlPlaneClientSettings"]


@attrs.frozen(kw_only=True)
class ControlPlaneClientSettings:
    """Where the control plane is and who we are.

    `dataplane` is the Dataplane resource as a JSON document; without `networking` it stands for the one that was applied
    under its name. `others` are further control planes of the same installation: any of them will do.
    """

    address: Address
    tls: ClientTls | None  # None: plaintext, for a control plane on this host or in tests
    others: tuple[ControlPlaneEndpoint, ...] = ()
    token: str = attrs.field(repr=False)
    dataplane: Mapping[str, Any]
    state_folder: str
    key_type: KeyType = KeyType.ECDSA_P256
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 10.0
    backoff: ReconnectionBackoff = ReconnectionBackoff()


@attrs.frozen(kw_only=True)
class ClientStatus:
    """How it stands with the control plane. `last_error` tells why it is not connected, `last_nack` what was refused."""

    connected: bool
    session: str = ""
    version: str = ""  # of the configuration that is live
    last_nack: Nack | None = None
    last_error: str = ""
    certificate_expires: float | None = None  # seconds since the epoch


@attrs.define(eq=False)
class ControlPlaneClient:
    """One sidecar's end of the configuration stream."""

    env: Environment
    settings: ControlPlaneClientSettings
    target: ConfigurationTarget
    subscription: Subscription = attrs.field(factory=Subscription, init=False)
    readiness: Readiness = attrs.field(factory=Readiness, init=False)
    identity: IdentityKeeper = attrs.field(init=False)
    _welcome: Welcome | None = attrs.field(default=None, init=False)
    _last_nack: Nack | None = attrs.field(default=None, init=False)
    _last_error: str = attrs.field(default="", init=False)
    _worth_keeping: WakeUp = attrs.field(factory=WakeUp, init=False)
    _endpoints: Rotation = attrs.field(init=False)
    _left: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        here = ControlPlaneEndpoint(address=self.settings.address, tls=self.settings.tls)
        random = self.env.randomness.stream("control-plane-client", self.env.host, "endpoints")
        self._endpoints = Rotation.of((here, *self.settings.others), random)
        self.identity = IdentityKeeper(
            env=self.env,
            key_type=self.settings.key_type,
            answer_timeout_s=self.settings.answer_timeout_s,
            use=self._use_identity,
        )

    async def run(self) -> None:
        """Apply what is on disk, then stay in touch with the control plane until cancelled."""
        last_good = LastGood(self.env, self.settings.state_folder)
        self._restore(*await last_good.load())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, last_good)
            await self._stay_connected()

    @property
    def connected(self) -> bool:
        """Has a control plane let us in, on the connection of this moment?"""
        return self._welcome is not None

    def report_health(self, inbound: str, ready: bool) -> None:
        """Tell the control plane whether an inbound is ready; the newest word counts. From tasks and pumps alike."""
        self.readiness.report(inbound, ready)

    def depart(self, departure: Departure) -> None:
        """Tell the control plane how far we are on our way out, and so our callers."""
        self.readiness.depart(departure)

    async def leave(self) -> None:
        """Say good-bye; there is no connection any more after that. A control plane that is away is not waited for."""
        self.readiness.leave()
        if self.connected:
            with trio.move_on_after(GOODBYE_S_MAX):
                await self._left.wait()

    def status(self) -> ClientStatus:
        """Return how things stand, for the admin interface."""
        held, svid = self.subscription.held, self.identity.svid
        return ClientStatus(
            connected=self.connected,
            session=self._welcome.session if self._welcome else "",
            version=held.version if held else "",
            last_nack=self._last_nack,
            last_error=self._last_error,
            certificate_expires=svid.not_after if svid else None,
        )

    def _restore(self, encoded: EncodedSnapshot | None, svid: Svid | None) -> None:
        if encoded is None:
            return
        try:
            snapshot = encoded.decode()
            part = snapshot.parts.get("identity")
            if isinstance(part, IdentityPart):
                if svid is None or str(svid.spiffe_id) != part.spiffe_id:
                    raise IdentityError(f"no certificate for {part.spiffe_id} was kept")
                self.identity.restore(svid)
            self.target.apply(snapshot)
        except (ConfigError, IdentityError) as error:
            self.env.log.warning("configuration.not_restored", path=self.settings.state_folder, reason=str(error))
            return
        self.subscription.held = encoded
        self.env.log.info("configuration.restored", version=encoded.version)

    async def _stay_connected(self) -> None:
        random = self.env.randomness.stream("control-plane-client", self.env.host, "reconnection")
        reconnection = Reconnection(self.settings.backoff)
        while not self.readiness.gone:
            started = trio.current_time()
            refused = await self._connect_once()
            was_connected, self._welcome = self._welcome is not None, None
            reconnection.after_connection(lived_s=trio.current_time() - started if was_connected else 0.0)
            if self.readiness.gone:
                break
            # All of them know what a token is good for: going round would only be heard more often.
            if not refused and self._endpoints.go_on(was_connected=was_connected):
                continue
            if refused:
                await trio.sleep(reconnection.refused_delay_s(random))
            else:
                await trio.sleep(reconnection.delay_s(random))
        self._left.set()
        await trio.sleep_forever()

    async def _connect_once(self) -> bool:
        """Connect and converse until the connection ends; return whether we were refused for good."""
        try:
            await self._converse()
        except RefusedByControlPlane as error:
            self._note_refusal(error)
            return not error.retryable
        except (BrokenConnection, RemoteProtocolError, IdentityError) as error:
            if not self.readiness.gone and (self._welcome is not None or str(error) != self._last_error):
                self.env.log.warning("control_plane.disconnected", reason=str(error))
            self._last_error = str(error)
        return False

    def _note_refusal(self, error: RefusedByControlPlane) -> None:
        if str(error) == self._last_error:
            return  # Said once: it will be the same every time until an operator acts.
        self._last_error = str(error)
        log = self.env.log.warning if error.retryable else self.env.log.error
        log("control_plane.refused_us", kind=error.kind, reason=str(error), retryable=error.retryable)

    async def _converse(self) -> None:
        endpoint, timeout_s = self._endpoints.current, self.settings.connect_timeout_s
        await converse_as_client(
            await open_stream(self.env, endpoint, timeout_s=timeout_s),
            host=str(endpoint.address),
            path=PATH,
            handshake_timeout_s=timeout_s,
            converse=self._session,
        )

    async def _session(self, socket: MessageSocket) -> None:
        session = Session(
            env=self.env,
            socket=socket,
            subscription=self.subscription,
            identity=self.identity,
            target=self.target,
            readiness=self.readiness,
            token=self.settings.token,
            dataplane=self.settings.dataplane,
            answer_timeout_s=self.settings.answer_timeout_s,
            on_welcome=self._on_welcome,
            on_change=self._worth_keeping.set,
            on_nack=self._on_nack,
        )
        await session.run()

    def _on_welcome(self, welcome: Welcome) -> None:
        self._welcome, self._last_error = welcome, ""
        self.env.log.info(
            "control_plane.connected", session=welcome.session, address=str(self._endpoints.current.address)
        )

    def _on_nack(self, nack: Nack) -> None:
        self._last_nack = nack

    def _use_identity(self, svid: Svid) -> None:
        self.target.use_identity(svid)
        self._worth_keeping.set()

    async def _keep(self, last_good: LastGood) -> None:
        while True:
            await self._worth_keeping.wait()
            await last_good.keep(self.subscription.held, self.identity.svid)
