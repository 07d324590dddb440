"""Trust: whether a peer's certificates prove, at a given instant, that it is whom we expect.

What a chain proves stands in `certificate_path`; here are the expectation and the memory of chains already verified.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence

from cryptography import x509

from mesh.identity.certificate_path import Fault, PeerRefused, Role, TrustedRoots, VerifiedLeaf, verify_path
from mesh.model.names import SpiffeId
from mesh.model.security import TrustBundle

CACHED_PATHS_MAX = 8192
CACHED_BUNDLES_MAX = 256
SHOWN_NAMES_MAX = 8


class PathCache:
    """Chains already verified, by roots, role and leaf; bounded, the oldest goes first. Many verifiers may share one."""

    def __init__(self) -> None:
        self._roots: OrderedDict[tuple[TrustBundle, ...], TrustedRoots] = OrderedDict()
        # Keyed by the object that `roots` returned: comparing it costs less than comparing bundles.
        self._verified: OrderedDict[tuple[TrustedRoots, Role, bytes], VerifiedLeaf] = OrderedDict()

    def roots(self, trust: tuple[TrustBundle, ...]) -> TrustedRoots:
        """Return the parsed roots of `trust`, the same object for equal bundles. Raises: IdentityError."""
        roots = self._roots.get(trust)
        if roots is None:
            roots = self._roots[trust] = TrustedRoots(trust)
            if len(self._roots) > CACHED_BUNDLES_MAX:
                self._roots.popitem(last=False)
        return roots

    def get(self, roots: TrustedRoots, role: Role, leaf_der: bytes, now: float) -> VerifiedLeaf | None:
        leaf = self._verified.get((roots, role, leaf_der))
        return leaf if leaf is not None and leaf.not_before <= now <= leaf.not_after else None

    def put(self, roots: TrustedRoots, role: Role, leaf_der: bytes, leaf: VerifiedLeaf) -> None:
        self._verified[roots, role, leaf_der] = leaf
        if len(self._verified) > CACHED_PATHS_MAX:
            self._verified.popitem(last=False)


class PeerVerifier:
    """Verifies the peers of one TLS context; keeps what it verified, so that a peer's second connection costs a look-up.

    A peer must carry one of `expected_peers`, or, where that is empty, the DNS name or IP address `server_name`. Where
    that is empty too, a client may carry any SPIFFE ID of the trust domains in `trust`, and no server is accepted.
    """

    def __init__(
        self,
        trust: tuple[TrustBundle, ...],
        *,
        role: Role,
        expected_peers: Sequence[SpiffeId] = (),
        server_name: str = "",
        cache: PathCache | None = None,
    ) -> None:
        self._cache = PathCache() if cache is None else cache
        self._roots = self._cache.roots(trust)
        self._role = role
        self._expected_peers = frozenset(expected_peers)
        self._server_name = server_name

    def verify(self, chain_der: Sequence[bytes], now: float) -> SpiffeId | None:
        """Return the peer's SPIFFE ID (None: known by `server_name` alone). Raises: PeerRefused.

        A resumed TLS session may present the leaf without its intermediates: a leaf that was verified before stands for
        its path, as long as that path is valid.
        """
        if not chain_der:
            raise PeerRefused(Fault.MISSING, "the peer presented no certificate")
        leaf = self._cache.get(self._roots, self._role, chain_der[0], now)
        if leaf is None:
            leaf = verify_path(chain_der, self._roots, self._role, now)
            self._cache.put(self._roots, self._role, chain_der[0], leaf)
        return self._expect(leaf)

    def _expect(self, leaf: VerifiedLeaf) -> SpiffeId | None:
        if self._expected_peers:
            if leaf.spiffe_id not in self._expected_peers:
                expected = " or ".join(sorted(map(str, self._expected_peers)))
                raise PeerRefused(Fault.WRONG_IDENTITY, f"expected {expected}, got {_names_text(leaf)}")
        elif self._server_name:
            if not carries_name(leaf.names, self._server_name):
                raise PeerRefused(Fault.WRONG_IDENTITY, f"expected {self._server_name}, got {_names_text(leaf)}")
        elif self._role is Role.SERVER:
            raise PeerRefused(Fault.WRONG_IDENTITY, f"nobody is expected here, got {_names_text(leaf)}")
        elif leaf.spiffe_id is None:
            raise PeerRefused(Fault.WRONG_IDENTITY, f"expected a SPIFFE ID, got {_names_text(leaf)}")
        return leaf.spiffe_id


def verify_peer(
    chain_der: Sequence[bytes],
    *,
    trust: tuple[TrustBundle, ...],
    role: Role,
    now: float,
    expected_peers: Sequence[SpiffeId] = (),
    server_name: str = "",
) -> SpiffeId | None:
    """Verify one chain without a cache; see PeerVerifier. Raises: PeerRefused."""
    verifier = PeerVerifier(trust, role=role, expected_peers=expected_peers, server_name=server_name)
    return verifier.verify(chain_der, now)


def carries_name(names: x509.SubjectAlternativeName | None, server_name: str) -> bool:
    """Source: RFC 6125 section 6.4: a wildcard stands for the whole leftmost label; addresses match exactly."""
    if names is None:
        return False
    try:
        return ipaddress.ip_address(server_name) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wanted = server_name.lower().rstrip(".")
    patterns = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return wanted in patterns or f"*.{wanted.partition('.')[2]}" in patterns


def names_text(names: x509.SubjectAlternativeName | None) -> str:
    """Say which names a certificate carries, the first few of them: a peer may have written thousands."""
    found = [str(name.value) for name in names or ()]
    shown = ", ".join(found[:SHOWN_NAMES_MAX])
    more = f" and {len(found) - SHOWN_NAMES_MAX} more" if len(found) > SHOWN_NAMES_MAX else ""
    return f"{shown}{more}" or "a certificate without names"


def _names_text(leaf: VerifiedLeaf) -> str:
    return names_text(leaf.names) if leaf.spiffe_id is None else str(leaf.spiffe_id)
