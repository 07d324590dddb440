"""ProxyStream: the control plane's end of one sidecar's configuration stream.

Owns: what this proxy was sent and has acknowledged. Accepts: what it should have (`want`), dismissal. Emits: joins,
health, heartbeats, good-byes and leaving, to its `Membership`. Nothing queues up here: a proxy that does not read, or does not
answer a push, is dropped, and the newest configuration waits for it alone.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol, assert_never

import attrs
import trio

from mesh.control.admission import NotAdmitted
from mesh.control.insights import Answer
from mesh.discovery.encoding import EncodedSnapshot
from mesh.discovery.messages import (
    MESSAGE_BYTES_MAX,
    Ack,
    Certificate,
    CertificateRefused,
    CertificateRequest,
    ControlPlaneMessage,
    DataplaneDocument,
    DataplaneRequest,
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
    decode_sidecar_message,
    encode_message,
    shorten,
)
from mesh.discovery.publication import Publication
from mesh.discovery.silence import Silence
from mesh.discovery.wake_up import WakeUp
from mesh.discovery.web_socket import MessageSocket, first_error
from mesh.model.errors import BrokenConnection, IdentityError, LocalProtocolError, MeshError, RemoteProtocolError
from mesh.model.names import ProxyId
from mesh.model.randomness import Random
from mesh.runtime.environment import Environment


@attrs.frozen(kw_only=True)
class StreamLimits:
    """How patient the control plane is with one proxy, in seconds."""

    hello_s_max: float = 10.0
    send_s_max: float = 10.0
    answer_s_max: float = 30.0  # to a push: the sidecar may need a certificate first
    refused_retry_s: float = 5.0  # until a refused configuration is offered again: a port may be free by then
    # Of a whole configuration, as `EncodedSnapshot.size_bytes` counts: what could not be sent must not be tried for ever.
    configuration_bytes_max: int = MESSAGE_BYTES_MAX - 64 * 1024


class Membership(Protocol):
    """Who decides who belongs to the mesh: the control plane."""

    def admit(self, hello: Hello, stream: "ProxyStream") -> Welcome:
        """Let a proxy in. Raises: NotAdmitted."""
        ...

    def describe(self, request: DataplaneRequest) -> dict[str, Any]:
        """Return an applied Dataplane as a document. Raises: NotAdmitted."""
        ...

    def heard(self, stream: "ProxyStream") -> None: ...
    def answered(self, stream: "ProxyStream", answer: Answer) -> None: ...
    def report_health(self, stream: "ProxyStream", report: HealthReport) -> None: ...
    def goodbye(self, stream: "ProxyStream") -> None: ...
    async def issue(self, stream: "ProxyStream", csr_pem: str) -> str:
        """Return a certificate chain in PEM. Raises: IdentityError."""
        ...

    def leave(self, stream: "ProxyStream", reason: str) -> None: ...


class Dismissed(MeshError):
    """Ours: the control plane ended this stream."""


class SaidGoodbye(MeshError):
    """The sidecar's orderly end of a stream."""


@attrs.define(eq=False, kw_only=True)
class ProxyStream:
    """One connection."""

    env: Environment
    socket: MessageSocket
    membership: Membership
    limits: StreamLimits
    silence_s: float  # how long the proxy may say nothing
    hold_push: "HoldPush | None" = None
    session: str = attrs.field(init=False)
    proxy: ProxyId = attrs.field(default=ProxyId("", ""), init=False)  # once admitted
    publication: Publication = attrs.field(factory=Publication, init=False)
    applied_dataplane: bool = attrs.field(default=False, init=False)  # an operator's; the proxy told only its name
    behind_since: float | None = attrs.field(default=None, init=False)  # by the wall clock; None: it has the newest
    revision: int = attrs.field(default=0, init=False)  # of the resources that it ran by when it was last up to date
    _wake: WakeUp = attrs.field(factory=WakeUp, init=False)
    _dismissal: Refused | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.session = f"{self.env.randomness.stream('control-plane', 'sessions').getrandbits(64):016x}"

    async def run(self) -> None:
        """Speak until the connection ends. Raises: the MeshError that ended it."""
        opening = await self._opening()
        try:
            if isinstance(opening, DataplaneRequest):
                await self._send(DataplaneDocument(dataplane=self.membership.describe(opening)))
                return
            welcome = self.membership.admit(opening, self)
        except NotAdmitted as error:
            name = opening.name if isinstance(opening, DataplaneRequest) else str(opening.dataplane.get("name"))
            await self._refuse(error.refused, name[:256])
            raise
        await self._serve(welcome)

    async def _refuse(self, refused: Refused, proxy: str) -> None:
        self.env.log.warning(
            "proxy.refused", proxy=proxy, kind=refused.kind, reason=refused.reason, retryable=refused.retryable
        )
        await self._send(refused)

    async def _serve(self, welcome: Welcome) -> None:
        failure: Exception | None = None
        try:
            await self._send(welcome)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._push)
                silence = Silence(self.silence_s)
                nursery.start_soon(silence.watch)
                await self._listen(silence)
        except* MeshError as group:
            failure = first_error(group)
        finally:
            self.membership.leave(self, str(failure or "the control plane stopped"))
        if failure is not None:
            raise failure

    def resume(self, proxy: ProxyId, version: str, digests: Mapping[str, str]) -> None:
        """Take up where the proxy says that it stands; its `Membership` calls this when it admits it."""
        self.proxy = proxy
        self.env = self.env.bind(mesh=proxy.mesh, proxy=proxy.name)
        self.publication = Publication.resume(version, digests)

    def want(self, snapshot: EncodedSnapshot) -> None:
        """Set what the proxy should have; the newest wins."""
        self.publication.want(snapshot)
        if self.publication.converged:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = self.env.wall_clock()
        self._wake.set()

    def dismiss(self, refused: Refused) -> None:
        """End the stream with a last word."""
        self._dismissal = refused
        self._wake.set()

    async def _opening(self) -> Hello | DataplaneRequest:
        with trio.move_on_after(self.limits.hello_s_max):
            message = decode_sidecar_message(await self.socket.receive())
            if not isinstance(message, Hello | DataplaneRequest):
                raise RemoteProtocolError(f"{type(message).__name__} before Hello")
            return message
        raise BrokenConnection("no Hello in time")

    async def _listen(self, silence: Silence) -> None:
        while True:
            silence.begin()
            data = await self.socket.receive()
            silence.end()
            self.membership.heard(self)
            await self._take(decode_sidecar_message(data))

    async def _take(self, message: SidecarMessage) -> None:
        match message:
            case Heartbeat():
                await self._send(message)
            case Ack() | Nack() | Resync():
                self._take_answer(message)
            case HealthReport():
                self.membership.report_health(self, message)
            case CertificateRequest():
                await self._certify(message)
            case Goodbye():
                self.membership.goodbye(self)
                raise SaidGoodbye("it said good-bye")
            case Hello() | DataplaneRequest():
                raise RemoteProtocolError("a second Hello")
            case _:
                assert_never(message)

    def _take_answer(self, answer: Ack | Nack | Resync) -> None:
        log = self.env.log
        match answer:
            case Ack(version=version, nonce=nonce) if self.publication.ack(version, nonce):
                log.info("configuration.acked", version=version, nonce=nonce)
                if self.publication.converged:
                    self.behind_since = None
                self.membership.answered(self, "acked")
            case Nack(version=version, nonce=nonce, reason=reason) if self.publication.nack(version, nonce, reason):
                log.warning("configuration.nacked", version=version, nonce=nonce, reason=reason)
                self.membership.answered(self, "rejected")
            case Resync(nonce=nonce) if self.publication.resync(nonce):
                pass
            case _:
                raise RemoteProtocolError(f"{type(answer).__name__} {answer.nonce} answers no push")
        self._wake.set()

    async def _certify(self, request: CertificateRequest) -> None:
        try:
            chain_pem = await self.membership.issue(self, request.csr_pem)
        except IdentityError as error:
            self.env.log.warning("certificate.refused", reason=str(error))
            await self._send(CertificateRefused(number=request.number, reason=shorten(str(error))))
            return
        await self._send(Certificate(number=request.number, chain_pem=chain_pem))

    async def _push(self) -> None:
        """Send the newest configuration whenever the last push is answered."""
        while True:
            if self._dismissal is not None:
                await self._send(self._dismissal)
                raise Dismissed(self._dismissal.reason)
            push = self.publication.next_push()
            if push is None:
                await self._wait_for_news()
                continue
            await self._deliver(push)
            with trio.move_on_after(self.limits.answer_s_max):
                while self.publication.in_flight and self._dismissal is None:
                    await self._wake.wait()
            if self.publication.in_flight and self._dismissal is None:
                raise BrokenConnection(f"no answer to a push within {self.limits.answer_s_max:g} s")

    async def _wait_for_news(self) -> None:
        """Wait until there may be something to send; a refused configuration is offered again after a while."""
        with trio.move_on_after(self.limits.refused_retry_s if self.publication.refused else math.inf) as scope:
            await self._wake.wait()
        if scope.cancelled_caught:
            self.publication.offer_again()

    async def _deliver(self, push: Push) -> None:
        if self.hold_push is not None:
            await self.hold_push(self.proxy, self.env.randomness.stream("control-plane", "push-delay"))
        await self._send(push)
        self.membership.answered(self, "sent")
        self.env.log.info(
            "configuration.pushed",
            version=push.version,
            nonce=push.nonce,
            base_version=push.base_version,
            upserts=len(push.upserts),
            removed=len(push.removed),
        )

    async def _send(self, message: ControlPlaneMessage) -> None:
        try:
            data = encode_message(message)
        except LocalProtocolError as error:
            raise BrokenConnection(str(error)) from error
        with trio.move_on_after(self.limits.send_s_max) as scope:
            await self.socket.send(data)
        if scope.cancelled_caught:
            raise BrokenConnection(f"the proxy does not read: nothing sent for {self.limits.send_s_max:g} s")


class HoldPush(Protocol):
    """Waits before a push goes out: a pace for many proxies, or what a loaded control plane does by itself."""

    async def __call__(self, proxy: ProxyId, random: Random) -> None: ...
