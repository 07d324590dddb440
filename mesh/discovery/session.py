"""Session: one connection of a sidecar to its control plane, from Hello to the end of the connection.

Owns: the order of steps on this connection. A push that names an identity gets its certificate first and is applied
after (make before break); each push is answered. What must outlive the connection belongs to `ControlPlaneClient`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, assert_never

import attrs
import trio
from msgspec import UNSET

from mesh.config.snapshot import IdentityPart, Snapshot, TrustPart, part_key
from mesh.discovery.identity_keeper import IdentityKeeper
from mesh.discovery.messages import (
    Ack,
    Certificate,
    CertificateRefused,
    ControlPlaneMessage,
    DataplaneDocument,
    Goodbye,
    HealthReport,
    Heartbeat,
    Hello,
    Nack,
    Push,
    Refused,
    Resync,
    SidecarMessage,
    Welcome,
    decode_control_plane_message,
    encode_message,
)
from mesh.discovery.silence import Silence
from mesh.discovery.subscription import Candidate, Subscription
from mesh.discovery.wake_up import WakeUp
from mesh.discovery.web_socket import MessageSocket
from mesh.model.departure import Departure
from mesh.model.errors import BrokenConnection, ConfigError, IdentityError, MeshError, RemoteProtocolError
from mesh.model.names import SpiffeId
from mesh.model.security import Svid
from mesh.runtime.environment import Environment

HEARTBEATS_MISSED_MAX = 3


class ConfigurationTarget(Protocol):
    """Who lives by the configuration: the sidecar."""

    def apply(self, snapshot: Snapshot) -> None:
        """Become what the snapshot says. Raises: ConfigError: refused whole, what was before still holds."""
        ...

    def use_identity(self, svid: Svid) -> None:
        """Present this certificate on connections made from now on."""
        ...


class RefusedByControlPlane(MeshError):
    """The control plane's answer to Hello, or its last word: it will not serve us."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.retryable = refused.retryable
        self.kind = refused.kind


@attrs.define(eq=False)
class Readiness:
    """Which inbounds are ready, and whether we stay; written by probes and the drain, read by the session."""

    inbounds: dict[str, bool] = attrs.field(factory=dict)
    departure: Departure = Departure.STAYING
    gone: bool = False  # we serve nobody any more: the connection ends with a good-bye
    changed: WakeUp = attrs.field(factory=WakeUp)

    def report(self, inbound: str, ready: bool) -> None:
        if self.inbounds.get(inbound) is not ready:
            self.inbounds[inbound] = ready
            self.changed.set()

    def depart(self, departure: Departure) -> None:
        self.departure = departure
        self.changed.set()

    def leave(self) -> None:
        self.gone = True
        self.changed.set()

    def said(self) -> HealthReport:
        """Return how things stand, as it is said to the control plane."""
        return HealthReport(inbounds=dict(self.inbounds), departure=self.departure)


@attrs.define(eq=False, kw_only=True)
class Session:
    """One conversation; `run` ends with the exception that ended the connection."""

    env: Environment
    socket: MessageSocket
    subscription: Subscription
    identity: IdentityKeeper
    target: ConfigurationTarget
    readiness: Readiness
    token: str = attrs.field(repr=False)
    dataplane: Mapping[str, Any]
    answer_timeout_s: float
    on_welcome: Callable[[Welcome], None]
    on_change: Callable[[], None]  # something is worth keeping on disk
    on_nack: Callable[[Nack], None]

    async def run(self) -> None:
        """Speak until the connection ends.

        Raises: BrokenConnection, RemoteProtocolError, RefusedByControlPlane.
        """
        reported = self.readiness.said()
        welcome = await self._enter(reported)
        self.on_welcome(welcome)
        # One push waits while another is being applied; the control plane has promised not to send a third.
        send_push, receive_push = trio.open_memory_channel[Push](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_heartbeats, welcome.heartbeat_s)
            nursery.start_soon(self._report_readiness, reported)
            nursery.start_soon(self._take_pushes, receive_push)
            nursery.start_soon(self.identity.renew, self._send)
            silence = Silence(HEARTBEATS_MISSED_MAX * welcome.heartbeat_s)
            nursery.start_soon(silence.watch)
            await self._receive(send_push, silence)

    async def _enter(self, reported: HealthReport) -> Welcome:
        self.subscription.connect()
        held, svid = self.subscription.held, self.identity.svid
        hello = Hello(
            token=self.token,
            dataplane=dict(self.dataplane),
            version=held.version if held else "",
            digests=dict(held.digests) if held else {},
            inbounds=reported.inbounds,
            departure=UNSET if reported.departure is Departure.STAYING else reported.departure,
            certificate_expires=max(round(svid.not_after), 0) if svid else 0,
        )
        await self._send(hello)
        with trio.move_on_after(self.answer_timeout_s):
            answer = decode_control_plane_message(await self.socket.receive())
            match answer:
                case Welcome():
                    return answer
                case Refused():
                    raise RefusedByControlPlane(answer)
                case _:
                    raise RemoteProtocolError(f"{type(answer).__name__} in answer to Hello")
        raise BrokenConnection("no answer to Hello in time")

    async def _receive(self, pushes: trio.MemorySendChannel[Push], silence: Silence) -> None:
        while True:
            silence.begin()
            data = await self.socket.receive()
            silence.end()
            self._take(decode_control_plane_message(data), pushes)

    def _take(self, message: ControlPlaneMessage, pushes: trio.MemorySendChannel[Push]) -> None:
        match message:
            case Heartbeat():
                pass
            case Push():
                try:
                    pushes.send_nowait(message)
                except trio.WouldBlock:
                    raise RemoteProtocolError("a push before the answer to the last one") from None
            case Certificate() | CertificateRefused():
                self.identity.answer(message)
            case Refused():
                raise RefusedByControlPlane(message)
            case Welcome() | DataplaneDocument():
                raise RemoteProtocolError(f"{type(message).__name__} out of turn")
            case _:
                assert_never(message)

    async def _send(self, message: SidecarMessage) -> None:
        await self.socket.send(encode_message(message))

    async def _send_heartbeats(self, heartbeat_s: float) -> None:
        # The first one early, at a time of our own: sidecars that joined together shall not all speak together.
        random = self.env.randomness.stream("control-plane-client", self.env.host, "heartbeat")
        wait_s = random.uniform(0.0, heartbeat_s)
        while True:
            await trio.sleep(wait_s)
            await self._send(Heartbeat())
            wait_s = heartbeat_s

    async def _report_readiness(self, reported: HealthReport) -> None:
        while not self.readiness.gone:
            report = self.readiness.said()
            if report == reported:
                await self.readiness.changed.wait()
                continue
            reported = report
            await self._send(report)
        await self._send(Goodbye())  # The control plane closes the connection.

    async def _take_pushes(self, pushes: trio.MemoryReceiveChannel[Push]) -> None:
        async for push in pushes:
            answer = self.subscription.receive(push)
            if isinstance(answer, Candidate):
                answer = await self._try(answer)
            match answer:
                case Nack():
                    self.env.log.warning("configuration.nacked", version=answer.version, reason=answer.reason)
                    self.on_nack(answer)
                case Resync():
                    self.env.log.warning("configuration.resync_requested", reason=answer.reason)
                case Ack():
                    self.env.log.info("configuration.accepted", version=answer.version, nonce=answer.nonce)
                case None:
                    continue
            await self._send(answer)

    async def _try(self, candidate: Candidate) -> Ack | Nack:
        """Get the certificate that the candidate needs, then apply it; a refusal leaves everything as it was."""
        before = self.identity.holder
        part = candidate.snapshot.parts.get("identity")
        try:
            if isinstance(part, IdentityPart):
                roots_pem = _own_roots(part, candidate.snapshot)
                self.identity.adopt(await self.identity.prepare(part, self._send, roots_pem=roots_pem))
            self.target.apply(candidate.snapshot)
        except (ConfigError, IdentityError) as error:
            if before is not None:
                self.identity.adopt(before)
            return self.subscription.refuse(candidate, str(error))
        if part is None:
            self.identity.release()
        answer = self.subscription.accept(candidate)
        self.on_change()
        return answer


def _own_roots(part: IdentityPart, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the roots of our own trust domain; none where others are told about it elsewhere."""
    trust_domain = SpiffeId.parse(part.spiffe_id).trust_domain
    trust = snapshot.parts.get(part_key(TrustPart(trust_domain=trust_domain, roots_pem=())))
    return trust.roots_pem if isinstance(trust, TrustPart) else ()
