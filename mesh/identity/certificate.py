"""Certificates: keys, signing requests, serial numbers, and what stands in a chain.

Reads and writes only. Who may have a certificate decides `authority`, whom to believe decides `trust`.
"""

import datetime
import enum
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class KeyType(enum.Enum):
    """Kinds of key pairs. Everybody accepts ECDSA; Ed25519 signatures have one length, so that record sizes repeat."""

    ECDSA_P256 = "ECDSA-P256"
    ED25519 = "Ed25519"


def generate_key(key_type: KeyType) -> PrivateKey:
    """Make a key pair from the operating system's chance: keys never come from a seeded generator."""
    match key_type:
        case KeyType.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def signature_hash(key: PrivateKey) -> hashes.SHA256 | None:
    """Return the hash that `key` signs with; Ed25519 brings its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def encode_key(key: PrivateKey) -> str:
    """Write a private key as PKCS #8 PEM, unencrypted."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode("ascii")


def decode_key(pem: str) -> PrivateKey:
    """Read a private key. Raises: IdentityError; the message never quotes the key."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IdentityError("not an unencrypted private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise IdentityError(f"{type(key).__name__}: write an ECDSA or Ed25519 key")
    return key


def public_key_der(certificate: x509.Certificate | x509.CertificateSigningRequest | PrivateKey) -> bytes:
    """Return the public half as SubjectPublicKeyInfo: equal bytes are equal keys."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def serial_number(random: Random) -> int:
    """Draw a serial number whose DER always takes 16 bytes, with 126 bits of chance.

    Source: RFC 5280 4.1.2.2: positive, at most 20 octets. The top bits are 01, so DER adds no sign byte and drops none.
    """
    return 1 << 126 | random.getrandbits(126)


def make_csr(key: PrivateKey, spiffe_id: SpiffeId, names: Sequence[str] = ()) -> str:
    """Ask for a certificate: a CSR in PEM with one URI name, and `names` (DNS, IP addresses) where non-mesh clients call."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(subject_alternative_names(spiffe_id, names), critical=True)
    return _pem(builder.sign(key, signature_hash(key)))


def subject_alternative_names(spiffe_id: SpiffeId, names: Sequence[str] = ()) -> x509.SubjectAlternativeName:
    """Build the extension: the SPIFFE ID first, then each name as IP address or DNS name."""
    general: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(spiffe_id))]
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def decode_csr(pem: str) -> x509.CertificateSigningRequest:
    """Read a CSR whose signature proves that the sender holds the key. Raises: IdentityError."""
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        proven = csr.is_signature_valid
        csr.extensions  # noqa: B018 - parses them
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, x509.DuplicateExtension):
        raise IdentityError("not a certificate signing request in PEM") from None
    if not proven:
        raise IdentityError("the certificate signing request is not signed with its own key")
    key = csr.public_key()
    if not (isinstance(key, ed25519.Ed25519PublicKey) or _is_p256(key)):
        raise IdentityError(f"{type(key).__name__}: ask with an ECDSA P-256 or Ed25519 key")
    return csr


def decode_chain(pem: str) -> tuple[x509.Certificate, ...]:
    """Read certificates in PEM, leaf first, each with a key of a known kind. Raises: IdentityError."""
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem.encode()))
        for certificate in chain:
            certificate.public_key()  # Parsed only when asked for.
        return chain
    except (ValueError, UnsupportedAlgorithm):
        raise IdentityError("not a certificate chain in PEM") from None


def encode_chain(chain: Sequence[x509.Certificate]) -> str:
    """Write certificates in PEM, in order."""
    return "".join(_pem(certificate) for certificate in chain)


def chain_der(chain: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    """Write each certificate in DER, as TLS carries it."""
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain)


def names_of(certified: x509.Certificate | x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    """Return the subject alternative names. Raises: IdentityError when extensions cannot be read."""
    try:
        return certified.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension):
        raise IdentityError("the extensions cannot be read") from None


def spiffe_id_of(certified: x509.Certificate | x509.CertificateSigningRequest) -> SpiffeId | None:
    """Return the SPIFFE ID, None when there is no URI name.

    Raises: IdentityError when there are several URI names or the one is no SPIFFE ID. Source: X509-SVID section 2.
    """
    names = names_of(certified)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if not uris:
        return None
    if len(uris) > 1:
        raise IdentityError(f"{len(uris)} URI names: a SPIFFE certificate has exactly one")
    try:
        return SpiffeId.parse(uris[0])
    except ConfigError as error:
        raise IdentityError(str(error)) from None


def utc(seconds: float) -> datetime.datetime:
    """Turn seconds since the epoch into the whole second that certificates carry."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _is_p256(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _pem(encodable: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return encodable.public_bytes(serialization.Encoding.PEM).decode("ascii")
