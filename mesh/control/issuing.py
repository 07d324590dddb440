"""Issuer: the certificate authorities of the trust domains that this control plane serves.

Owns: their roots and keys, on disk before they sign. Emits: `on_change` when a bundle or signer changes by itself.
A trust domain gets its root when it is first needed; a root that ages is followed by another, with overlap.
Does not decide who may have which identity: callers did.
"""

from collections.abc import Callable

import attrs
import trio

from mesh.discovery.wake_up import WakeUp
from mesh.identity.authority import ROOT_LIFETIME_S, Authority
from mesh.identity.authority_ring import PROPAGATION_S, AuthorityRing
from mesh.identity.certificate import KeyType
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import TrustBundle
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

LEAF_LIFETIME_S_MAX = 7 * 86400.0
CHECK_S_MAX = 3600.0  # Wall clocks jump; one long sleep would not notice.


@attrs.frozen(kw_only=True)
class IssuerSettings:
    """How certificates are made; spans in seconds."""

    folder: str = "control-plane/authorities"
    key_type: KeyType = KeyType.ECDSA_P256
    root_lifetime_s: float = ROOT_LIFETIME_S
    leaf_lifetime_s_max: float = LEAF_LIFETIME_S_MAX
    propagation_s: float = PROPAGATION_S


@attrs.define(eq=False)
class Issuer:
    """All authorities of one control plane."""

    env: Environment
    settings: IssuerSettings
    on_change: Callable[[], None]
    _rings: dict[str, AuthorityRing] = attrs.field(factory=dict, init=False)
    _one_creation: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _created: WakeUp = attrs.field(factory=WakeUp, init=False)

    async def load(self) -> None:
        """Take up the authorities on disk. Raises: IdentityError when one is damaged: a new root would cut off its mesh."""
        for path in await self.env.disk.list(self.settings.folder):
            if path.endswith(".json"):
                ring = AuthorityRing.decode((await self.env.disk.read(path)).decode())
                self._rings[ring.trust_domain] = ring

    async def ensure(self, trust_domain: str) -> None:
        """Make the authority of a trust domain if there is none. Raises: IdentityError when it cannot be kept on disk."""
        async with self._one_creation:
            if trust_domain in self._rings:
                return
            now = self.env.wall_clock()
            ring = AuthorityRing.start(
                self._new_root(trust_domain, now), leaf_lifetime_s_max=self.settings.leaf_lifetime_s_max, now=now
            )
            try:
                await self._save(ring)
            except OSError as error:
                raise IdentityError(f"the authority of {trust_domain} cannot be kept: {error}") from error
            self._rings[trust_domain] = ring
        self.env.log.info("authority.created", trust_domain=trust_domain)
        self._created.set()

    def trust_bundles(self) -> tuple[TrustBundle, ...]:
        """Return what to trust now, sorted by trust domain."""
        now = self.env.wall_clock()
        return tuple(self._rings[name].trust_bundle(now) for name in sorted(self._rings))

    def sign(self, csr_pem: str, spiffe_id: SpiffeId, lifetime_s: float) -> str:
        """Return a chain in PEM; the trust domain's authority is there already. Raises: IdentityError."""
        ring = self._rings[spiffe_id.trust_domain]
        return ring.sign(
            csr_pem,
            spiffe_id=spiffe_id,
            lifetime_s=lifetime_s,
            now=self.env.wall_clock(),
            serial_random=self._serial_random(),
        )

    async def run(self) -> None:
        """Let roots follow one another until cancelled."""
        while True:
            now = self.env.wall_clock()
            for trust_domain in sorted(self._rings):
                await self._rotate(self._rings[trust_domain], now)
            changes = [ring.next_change(now) for ring in self._rings.values()]
            wait_s = min([CHECK_S_MAX, *(change - now for change in changes if change is not None)])
            with trio.move_on_after(max(wait_s, 0.0)) as scope:
                await self._created.wait()
            if scope.cancelled_caught and wait_s < CHECK_S_MAX:
                self.on_change()

    async def _rotate(self, ring: AuthorityRing, now: float) -> None:
        before = ring.entries
        ring.prune(now)
        if ring.successor_due(now):
            ring.introduce(self._new_root(ring.trust_domain, now), now=now, propagation_s=self.settings.propagation_s)
        if ring.entries == before:
            return
        try:
            await self._save(ring)
        except OSError as error:
            # Nobody has seen the change yet; the next check tries again.
            ring.entries = before
            self.env.log.warning("authority.not_kept", trust_domain=ring.trust_domain, reason=str(error))
            return
        self.env.log.info("authority.rotated", trust_domain=ring.trust_domain, roots=len(ring.entries))
        self.on_change()

    def _new_root(self, trust_domain: str, now: float) -> Authority:
        return Authority.create(
            trust_domain,
            now=now,
            serial_random=self._serial_random(),
            key_type=self.settings.key_type,
            lifetime_s=self.settings.root_lifetime_s,
        )

    async def _save(self, ring: AuthorityRing) -> None:
        # The prefix keeps a trust domain such as ".." from being a path.
        path = f"{self.settings.folder}/roots-of-{ring.trust_domain}.json"
        await write_durably(self.env.disk, path, ring.encode().encode())

    def _serial_random(self) -> Random:
        return self.env.randomness.stream("control-plane", "serial-numbers")
