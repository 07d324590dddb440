"""Rotation: when a workload renews its certificate, and the holder of its key.

Pure: time is `now` in seconds since the epoch, chance an argument. The private key never leaves the holder except
in an Svid, which the TLS layer loads and which `encode_svid` writes for the workload's own disk.
"""

from collections.abc import Sequence

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from mesh.identity.authority import make_svid
from mesh.identity.certificate import KeyType, PrivateKey, decode_chain, decode_key, generate_key, make_csr
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import Svid

RENEW_AT = (
    0.7  # The part of what remains that is used up before the next try. Source: DESIGN section 10; Kuma takes 0.8.
)
JITTER = 0.1  # At most this part earlier, so that a fleet started together does not renew together.
DELAY_S_MIN = 10.0
DELAY_S_MAX = 86400.0


def renewal_delay_s(not_after: float, *, now: float, random: Random) -> float:
    """Return how long to wait before the next try to renew a certificate.

    The same after a success and after a failure: 70 % of what remains then. Tries never skip the moment of expiry and
    go on after it every 10 s.
    """
    remaining_s = not_after - now
    if remaining_s <= 0:
        return DELAY_S_MIN * random.uniform(1.0 - JITTER, 1.0)
    delay_s = RENEW_AT * remaining_s * random.uniform(1.0 - JITTER, 1.0)
    return min(max(delay_s, DELAY_S_MIN), DELAY_S_MAX, remaining_s)


@attrs.define(eq=False)
class IdentityHolder:
    """One workload's identity: its current certificate, and the key for the next one while that is being signed."""

    spiffe_id: SpiffeId
    key_type: KeyType = KeyType.ECDSA_P256
    current: Svid | None = None
    _pending_key: PrivateKey | None = attrs.field(default=None, init=False, repr=False)

    def request(self) -> str:
        """Return a CSR in PEM for a fresh key. Repeated before an answer came, it asks for the same key again."""
        if self._pending_key is None:
            self._pending_key = generate_key(self.key_type)
        return make_csr(self._pending_key, self.spiffe_id)

    def accept(self, chain_pem: str, *, now: float) -> Svid:
        """Take the signed chain for the pending key and make it the current certificate.

        Raises: IdentityError when it is for another key or SPIFFE ID, or no longer valid; the current one stays.
        """
        if self._pending_key is None:
            raise IdentityError(f"no certificate was asked for {self.spiffe_id}")
        svid = make_svid(chain_pem, self._pending_key)
        self._check(svid, now)
        self.current, self._pending_key = svid, None
        return svid

    def restore(self, svid: Svid, *, now: float) -> None:
        """Take up a certificate kept on disk. Raises: IdentityError when it is another's or no longer valid."""
        self._check(svid, now)
        self.current = svid

    def is_vouched_for(self, roots_pem: Sequence[str]) -> bool:
        """Was the current certificate signed, through its chain, by one of these roots? What is no root signed nothing."""
        if self.current is None:
            return False
        top = decode_chain(self.current.chain_pem)[-1]
        return any(_signed(root_pem, top) for root_pem in roots_pem)

    def renewal_delay_s(self, *, now: float, random: Random) -> float:
        """Return how long to wait before the next `request`: none while there is no certificate."""
        if self.current is None:
            return 0.0
        return renewal_delay_s(self.current.not_after, now=now, random=random)

    def _check(self, svid: Svid, now: float) -> None:
        if svid.spiffe_id != self.spiffe_id:
            raise IdentityError(f"expected a certificate for {self.spiffe_id}, got {svid.spiffe_id}")
        if svid.not_after <= now:
            raise IdentityError(f"the certificate of {svid.spiffe_id} has expired")


def _signed(root_pem: str, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(decode_chain(root_pem)[0])
    except (IdentityError, ValueError, TypeError, InvalidSignature):
        return False
    return True


def encode_svid(svid: Svid) -> bytes:
    """Write chain and key as PEM: a secret, for a file that only its owner can read."""
    return (svid.chain_pem + svid.private_key_pem).encode("ascii")


def decode_svid(data: bytes) -> Svid:
    """Read what `encode_svid` wrote. Raises: IdentityError when it was torn or altered."""
    chain_pem, begin, key_pem = data.decode("ascii", "replace").partition("-----BEGIN PRIVATE KEY-----")
    return make_svid(chain_pem, decode_key(begin + key_pem))
