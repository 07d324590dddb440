"""Certificate path: from a peer's leaf to a trusted root at a given instant, and what the path proves.

Checks it here, since cryptography.x509.verification refuses Ed25519 and names no reason that an operator could act on:
signatures, validity, CA flags, key usage, and that a SPIFFE ID belongs to the trust domain whose root vouches for it.
Revocation is not checked: certificates live for hours.
Source: RFC 5280 section 6.1 (no policies, no name constraints: a critical one is refused); X509-SVID sections 4 and 5.
"""

import enum
from collections.abc import Sequence
from typing import TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from mesh.identity.certificate import decode_chain, names_of, spiffe_id_of, utc
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import TrustBundle

E = TypeVar("E", bound=x509.ExtensionType)

CHAIN_LENGTH_MAX = 6


class Role(enum.Enum):
    """What the peer is on this connection."""

    CLIENT = "client"
    SERVER = "server"


class Fault(enum.Enum):
    """Why a peer was refused. The value is the TLS alert that tells it. Source: RFC 8446 section 6.2."""

    MALFORMED = 42  # bad_certificate
    EXPIRED = 45  # certificate_expired
    NOT_YET_VALID = 46  # certificate_unknown; there is no alert of its own
    UNKNOWN_AUTHORITY = 48  # unknown_ca
    WRONG_IDENTITY = 49  # access_denied
    MISSING = 116  # certificate_required


class PeerRefused(IdentityError):
    """The peer's: its certificates do not prove what they should; `fault` says in which way."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@attrs.frozen(kw_only=True, eq=False)
class VerifiedLeaf:
    """What a chain proves between two instants, whoever is expected."""

    spiffe_id: SpiffeId | None
    names: x509.SubjectAlternativeName | None
    not_before: float
    not_after: float


class TrustedRoots:
    """The roots of several trust domains, parsed: `{subject: [(root, trust domain)]}`."""

    def __init__(self, trust: Sequence[TrustBundle]) -> None:
        self.by_subject: dict[bytes, list[tuple[x509.Certificate, str]]] = {}
        for bundle in trust:
            for pem in bundle.roots_pem:
                for root in decode_chain(pem):
                    same_subject = self.by_subject.setdefault(root.subject.public_bytes(), [])
                    same_subject.append((root, bundle.trust_domain))


def verify_path(
    chain_der: Sequence[bytes], roots: TrustedRoots, role: Role, now: float, *, any_trust_domain: bool = False
) -> VerifiedLeaf:
    """Follow the chain, leaf first and each issuer behind its subject, up to a root. Raises: PeerRefused.

    `any_trust_domain`: the roots are those of servers outside the mesh, whose SPIFFE IDs, if any, mean nothing here.
    """
    chain = _parse(chain_der)
    try:
        spiffe_id, names = spiffe_id_of(chain[0]), names_of(chain[0])
    except IdentityError as error:
        raise PeerRefused(Fault.MALFORMED, f"the peer's certificate: {error}") from None
    _check_leaf(chain[0], role)
    path, trust_domains = _find_root(chain, roots, now)
    for certificate in path:
        _check_dates(certificate, now)
    if spiffe_id is not None and not any_trust_domain and spiffe_id.trust_domain not in trust_domains:
        vouching = " and ".join(trust_domains)
        raise PeerRefused(Fault.UNKNOWN_AUTHORITY, f"{spiffe_id} is vouched for by a root of {vouching}")
    return VerifiedLeaf(
        spiffe_id=spiffe_id,
        names=names,
        not_before=max(certificate.not_valid_before_utc.timestamp() for certificate in path),
        not_after=min(certificate.not_valid_after_utc.timestamp() for certificate in path),
    )


def _parse(chain_der: Sequence[bytes]) -> list[x509.Certificate]:
    if len(chain_der) > CHAIN_LENGTH_MAX:
        raise PeerRefused(Fault.MALFORMED, f"{len(chain_der)} certificates; at most {CHAIN_LENGTH_MAX} are accepted")
    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der]
        extensions = [extension for certificate in chain for extension in certificate.extensions]
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise PeerRefused(Fault.MALFORMED, f"the peer's certificates cannot be read: {error}") from None
    for extension in extensions:
        if extension.critical and extension.oid not in _CHECKED_EXTENSIONS:
            raise PeerRefused(Fault.MALFORMED, f"critical extension {extension.oid.dotted_string} is not understood")
    return chain


def _find_root(
    chain: list[x509.Certificate], roots: TrustedRoots, now: float
) -> tuple[list[x509.Certificate], list[str]]:
    """Return the path up to and with its root, and the trust domains for which that root stands."""
    for depth, certificate in enumerate(chain):
        if depth:
            _check_is_authority(certificate, intermediates_below=depth - 1)
        candidates = roots.by_subject.get(certificate.issuer.public_bytes(), [])
        found = [(root, domain) for root, domain in candidates if _issued(certificate, root)]
        if found:
            # A root renewed with the same key stands there twice: take the one that is valid now.
            root = next((root for root, _ in found if _is_valid(root, now)), found[0][0])
            _check_is_authority(root, intermediates_below=depth)
            return [*chain[: depth + 1], root], [domain for same, domain in found if same == root]
        if depth + 1 == len(chain) or not _issued(certificate, chain[depth + 1]):
            break
    issuer = chain[-1].issuer.rfc4514_string()
    raise PeerRefused(Fault.UNKNOWN_AUTHORITY, f"no trusted root issued {_describe(chain[0])}; it comes from {issuer}")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_leaf(leaf: x509.Certificate, role: Role) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise PeerRefused(Fault.MALFORMED, f"{_describe(leaf)} is an authority's certificate, not a peer's")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise PeerRefused(
            Fault.MALFORMED, f"the key usage of {_describe(leaf)} must be digitalSignature and no signing of others"
        )
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and _PURPOSE_BY_ROLE[role] not in purposes:
        raise PeerRefused(Fault.MALFORMED, f"{_describe(leaf)} may not be used as a {role.value}")


def _check_is_authority(certificate: x509.Certificate, *, intermediates_below: int) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise PeerRefused(Fault.MALFORMED, f"{_describe(certificate)} is not an authority, yet it signed a certificate")
    if constraints.path_length is not None and constraints.path_length < intermediates_below:
        raise PeerRefused(Fault.MALFORMED, f"{_describe(certificate)} may not stand so high in a chain")


def _is_valid(certificate: x509.Certificate, now: float) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp()


def _check_dates(certificate: x509.Certificate, now: float) -> None:
    if now > certificate.not_valid_after_utc.timestamp():
        expired = f"{_describe(certificate)} expired at {certificate.not_valid_after_utc:%FT%TZ}"
        raise PeerRefused(Fault.EXPIRED, f"{expired}; it is {_date(now)}")
    if now < certificate.not_valid_before_utc.timestamp():
        begins = f"{_describe(certificate)} is not valid before {certificate.not_valid_before_utc:%FT%TZ}"
        raise PeerRefused(Fault.NOT_YET_VALID, f"{begins}; it is {_date(now)}")


def _describe(certificate: x509.Certificate) -> str:
    try:
        spiffe_id = spiffe_id_of(certificate)
    except IdentityError:
        spiffe_id = None
    return str(spiffe_id or certificate.subject.rfc4514_string() or "the certificate")


def _date(seconds: float) -> str:
    return f"{utc(seconds):%FT%TZ}"


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


_PURPOSE_BY_ROLE = {Role.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, Role.SERVER: ExtendedKeyUsageOID.SERVER_AUTH}
_CHECKED_EXTENSIONS = frozenset(
    kind.oid for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
)
