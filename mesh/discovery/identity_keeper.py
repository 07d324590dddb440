"""IdentityKeeper: the sidecar's certificate over the connection: asked for when a configuration needs it, renewed in time.

Owns: which identity is in use. The private key stays in `IdentityHolder`; only a signing request leaves.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio

from mesh.config.snapshot import IdentityPart
from mesh.discovery.messages import Certificate, CertificateRefused, CertificateRequest
from mesh.discovery.wake_up import WakeUp
from mesh.identity.certificate import KeyType
from mesh.identity.rotation import IdentityHolder
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import Svid
from mesh.runtime.environment import Environment

RENEWAL_CHECK_S_MAX = 300.0  # Wall clocks jump; one long sleep would not notice.

Send = Callable[[CertificateRequest], Awaitable[None]]


@attrs.define(eq=False)
class _Awaited:
    """The answer to the request on its way."""

    number: int
    answered: trio.Event = attrs.field(factory=trio.Event)
    answer: Certificate | CertificateRefused | None = None


@attrs.define(eq=False, kw_only=True)
class IdentityKeeper:
    """Outlives connections; `send` is that of the connection that is open."""

    env: Environment
    key_type: KeyType
    answer_timeout_s: float
    use: Callable[[Svid], None]  # called with each certificate to be presented from now on
    holder: IdentityHolder | None = None  # of the identity in use
    _in_use: Svid | None = attrs.field(default=None, init=False)
    _changed: WakeUp = attrs.field(factory=WakeUp, init=False)
    _awaited: _Awaited | None = attrs.field(default=None, init=False)
    _requests: int = attrs.field(default=0, init=False)
    _vouched_for: tuple[str, tuple[str, ...]] | None = attrs.field(
        default=None, init=False
    )  # a chain, and by which roots
    _one_request: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @property
    def svid(self) -> Svid | None:
        """The certificate in use."""
        return self.holder.current if self.holder else None

    def restore(self, svid: Svid) -> None:
        """Use a certificate from disk, even an expired one: peers and checks shall see what is."""
        self.holder = IdentityHolder(svid.spiffe_id, key_type=self.key_type, current=svid)
        self._use(svid)

    async def prepare(self, part: IdentityPart, send: Send, *, roots_pem: tuple[str, ...] = ()) -> IdentityHolder:
        """Return a holder with a valid certificate for `part`; it is not in use before `adopt`.

        `roots_pem`: what our own trust domain is recognised by from now on, if that is known. A certificate that none of them
        vouches for is worth nothing to peers that are told the same, and is replaced first. Raises: IdentityError.
        """
        spiffe_id = SpiffeId.parse(part.spiffe_id)
        holder = self.holder
        if holder is None or holder.spiffe_id != spiffe_id:
            holder = IdentityHolder(spiffe_id, key_type=self.key_type)
        if not self._is_valid(holder) or (roots_pem and not self._is_vouched_for(holder, roots_pem)):
            await self._obtain(holder, send)
        return holder

    def _is_vouched_for(self, holder: IdentityHolder, roots_pem: tuple[str, ...]) -> bool:
        """Ask the holder, once for the same certificate and roots."""
        assert holder.current is not None, "it is valid"
        asked = (holder.current.chain_pem, roots_pem)
        if asked != self._vouched_for:
            if not holder.is_vouched_for(roots_pem):
                return False
            self._vouched_for = asked
        return True

    def _is_valid(self, holder: IdentityHolder) -> bool:
        return holder.current is not None and holder.current.not_after > self.env.wall_clock()

    def adopt(self, holder: IdentityHolder) -> None:
        """Use the holder's certificate, and renew it from now on."""
        assert holder.current is not None, "prepared before"
        if holder is not self.holder:
            self.holder = holder
            self._changed.set()
        self._use(holder.current)

    def release(self) -> None:
        """No configuration asks for an identity any more: there is nothing to renew."""
        if self.holder is not None:
            self.holder = None
            self._changed.set()

    def _use(self, svid: Svid) -> None:
        if svid is not self._in_use:
            self._in_use = svid
            self.use(svid)

    def look_again(self) -> None:
        """See at once whether a renewal is due: the wall clock was set."""
        self._changed.set()

    def answer(self, message: Certificate | CertificateRefused) -> None:
        """Take an answer off the wire; one that nobody waits for any more is dropped."""
        awaited = self._awaited
        if awaited is not None and awaited.number == message.number:
            awaited.answer = message
            awaited.answered.set()

    async def renew(self, send: Send) -> None:
        """Renew the certificate in use whenever it is due, while the connection lasts."""
        random = self.env.randomness.stream("identity-renewal", self.env.host)
        # Long away: an expired certificate is renewed at once, everything else at its time.
        if self.holder is not None and not self._is_valid(self.holder):
            await self._renew_once(self.holder, send)
        while True:
            holder = self.holder
            if holder is None:
                await self._changed.wait()
                continue
            due = self.env.wall_clock() + holder.renewal_delay_s(now=self.env.wall_clock(), random=random)
            if await self._wait_until(due, holder):
                await self._renew_once(holder, send)

    async def _wait_until(self, due: float, holder: IdentityHolder) -> bool:
        """Return True when it is `due` by the wall clock, False when another identity came into use."""
        while (remaining_s := due - self.env.wall_clock()) > 0:
            with trio.move_on_after(min(remaining_s, RENEWAL_CHECK_S_MAX)):
                await self._changed.wait()
            if holder is not self.holder:
                return False
        return True

    async def _renew_once(self, holder: IdentityHolder, send: Send) -> None:
        try:
            await self._obtain(holder, send)
        except IdentityError as error:
            not_after = round(holder.current.not_after) if holder.current else 0
            self.env.log.warning("certificate.not_received", reason=str(error), expires=not_after)
            return
        if holder is self.holder and holder.current is not None:
            self._use(holder.current)

    async def _obtain(self, holder: IdentityHolder, send: Send) -> None:
        """Ask for one certificate. Raises: IdentityError, BrokenConnection."""
        async with self._one_request:
            self._requests += 1
            awaited = self._awaited = _Awaited(self._requests)
            await send(CertificateRequest(number=awaited.number, csr_pem=holder.request()))
            with trio.move_on_after(self.answer_timeout_s):
                await awaited.answered.wait()
        match awaited.answer:
            case Certificate(chain_pem=chain_pem):
                svid = holder.accept(chain_pem, now=self.env.wall_clock())
                self.env.log.info("certificate.received", spiffe_id=str(svid.spiffe_id), expires=round(svid.not_after))
            case CertificateRefused(reason=reason):
                raise IdentityError(f"the control plane refused a certificate for {holder.spiffe_id}: {reason}")
            case None:
                raise IdentityError(f"no certificate for {holder.spiffe_id} within {self.answer_timeout_s:g} s")
