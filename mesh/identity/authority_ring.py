"""Authority ring: the roots of one trust domain while they follow one another, so that no valid leaf is ever distrusted.

A new root is trusted first and signs only when everybody has had time to learn of it. An old one stays trusted until
the last leaf that it may have signed has expired. Pure: time is `now`, in seconds since the epoch.
"""

import attrs
import msgspec

from mesh.identity.authority import SKEW_S, Authority
from mesh.model.errors import ConfigError, IdentityError, Violation
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import TrustBundle

PROPAGATION_S = 3600.0  # How long a bundle takes at most to reach a proxy that is to be served without a break.
RENEW_AT = 0.7  # The part of a root's life after which its successor is due.


@attrs.frozen(kw_only=True, eq=False)
class RootEntry:
    """One root: trusted since it stands in the ring, signing between two instants."""

    authority: Authority
    signs_from: float


class _EncodedRoot(msgspec.Struct):
    pem: str
    signs_from: float


class _EncodedRing(msgspec.Struct):
    leaf_lifetime_s_max: float
    roots: list[_EncodedRoot]


@attrs.define(eq=False)
class AuthorityRing:
    """Which root signs now, and which are trusted. Entries are sorted by `signs_from`, oldest first; never empty."""

    leaf_lifetime_s_max: float
    entries: tuple[RootEntry, ...]

    @classmethod
    def start(cls, authority: Authority, *, leaf_lifetime_s_max: float, now: float) -> "AuthorityRing":
        """Begin with one root that signs at once."""
        return cls(leaf_lifetime_s_max, (RootEntry(authority=authority, signs_from=now),))

    @property
    def trust_domain(self) -> str:
        return self.entries[0].authority.trust_domain

    def introduce(self, authority: Authority, *, now: float, propagation_s: float = PROPAGATION_S) -> None:
        """Add a root: in the bundle from now on, signing `propagation_s` later.

        Raises: ConfigError when it is of another trust domain, or a root is being introduced already.
        """
        if authority.trust_domain != self.trust_domain:
            raise ConfigError([Violation(message=f"the root is of {authority.trust_domain}, not {self.trust_domain}")])
        if self.entries[-1].signs_from > now:
            raise ConfigError([Violation(message="a new root is on its way; wait until it signs")])
        self.entries = (*self.entries, RootEntry(authority=authority, signs_from=now + propagation_s))

    def successor_due(self, now: float) -> bool:
        """Tell whether the newest root has used up 70 % of its life."""
        newest = self.entries[-1].authority
        begin = newest.root.not_valid_before_utc.timestamp()
        return now >= begin + RENEW_AT * (newest.not_after - begin)

    def signer(self, now: float) -> Authority:
        """Return the newest root that may sign."""
        signing = [entry for entry in self.entries if entry.signs_from <= now]
        # A clock set back must not leave nobody to sign.
        return (signing or self.entries)[-1 if signing else 0].authority

    def sign(self, csr_pem: str, *, spiffe_id: SpiffeId, lifetime_s: float, now: float, serial_random: Random) -> str:
        """Sign with the root whose turn it is; see Authority.sign. The lifetime is cut to `leaf_lifetime_s_max`."""
        if lifetime_s <= 0:
            raise IdentityError(f"{lifetime_s:g} s is no lifetime")
        return self.signer(now).sign(
            csr_pem,
            spiffe_id=spiffe_id,
            lifetime_s=min(lifetime_s, self.leaf_lifetime_s_max),
            now=now,
            serial_random=serial_random,
        )

    def trust_bundle(self, now: float) -> TrustBundle:
        """Return all roots to be trusted at `now`, newest first."""
        return TrustBundle(
            trust_domain=self.trust_domain,
            roots_pem=tuple(entry.authority.root_pem for entry in reversed(self._trusted(now))),
        )

    def next_change(self, now: float) -> float | None:
        """Return when the signer or the bundle changes next by itself, None when not."""
        instants = [entry.signs_from for entry in self.entries]
        instants += [until for until in map(self._trusted_until, range(len(self.entries))) if until is not None]
        later = [instant for instant in instants if instant > now]
        return min(later) if later else None

    def prune(self, now: float) -> None:
        """Forget roots that are trusted no more, with their keys."""
        self.entries = self._trusted(now)

    def encode(self) -> str:
        """Write the ring with its private keys as JSON: a secret."""
        roots = [_EncodedRoot(entry.authority.encode(), entry.signs_from) for entry in self.entries]
        return msgspec.json.encode(_EncodedRing(self.leaf_lifetime_s_max, roots)).decode()

    @classmethod
    def decode(cls, text: str) -> "AuthorityRing":
        """Read what `encode` wrote. Raises: IdentityError."""
        try:
            ring = msgspec.json.decode(text, type=_EncodedRing)
        except msgspec.DecodeError as error:
            raise IdentityError(f"not a ring of roots: {error}") from None
        if not ring.roots:
            raise IdentityError("not a ring of roots: it is empty")
        entries = [RootEntry(authority=Authority.decode(root.pem), signs_from=root.signs_from) for root in ring.roots]
        return cls(ring.leaf_lifetime_s_max, tuple(entries))

    def _trusted(self, now: float) -> tuple[RootEntry, ...]:
        untils = [self._trusted_until(index) for index in range(len(self.entries))]
        return tuple(entry for entry, until in zip(self.entries, untils, strict=True) if until is None or now < until)

    def _trusted_until(self, index: int) -> float | None:
        """The last leaf of a root was signed before its successor's turn came; clocks may differ by the skew."""
        if index + 1 == len(self.entries):
            return None
        return self.entries[index + 1].signs_from + self.leaf_lifetime_s_max + SKEW_S
