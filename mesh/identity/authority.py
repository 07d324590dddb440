"""Certificate authority: one root of a trust domain, which signs leaves. How roots follow one another: `authority_ring`.

Signs what its caller was authorised for and nothing else; who is authorised decides the caller (by token).
Keeps no list of what it signed. Pure: time is `now` in seconds since the epoch, chance an argument.
"""

from collections.abc import Sequence

import attrs
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.identity.certificate import (
    KeyType,
    PrivateKey,
    decode_chain,
    decode_csr,
    decode_key,
    encode_chain,
    encode_key,
    generate_key,
    make_csr,
    names_of,
    public_key_der,
    serial_number,
    signature_hash,
    spiffe_id_of,
    subject_alternative_names,
    utc,
)
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import Svid, TrustBundle

ROOT_LIFETIME_S = 10 * 365 * 86400.0
SKEW_S = 10.0  # Leaves are valid from a little earlier, for hosts whose clocks are behind. Source: Kuma MeshIdentity.


@attrs.frozen(eq=False)
class Authority:
    """One root certificate with its key."""

    trust_domain: str
    root: x509.Certificate = attrs.field(repr=False)
    key: PrivateKey = attrs.field(repr=False)

    @classmethod
    def create(
        cls,
        trust_domain: str,
        *,
        now: float,
        serial_random: Random,
        key_type: KeyType = KeyType.ECDSA_P256,
        lifetime_s: float = ROOT_LIFETIME_S,
    ) -> "Authority":
        """Make a self-signed root. Raises: ConfigError when `trust_domain` is none."""
        spiffe_id = SpiffeId.parse(f"spiffe://{trust_domain}")
        key = generate_key(key_type)
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "trio-mesh"),
                x509.NameAttribute(NameOID.COMMON_NAME, trust_domain[:64]),
            ]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial_number(serial_random))
            .not_valid_before(utc(now - SKEW_S))
            .not_valid_after(utc(now + lifetime_s))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(subject_alternative_names(spiffe_id), critical=False)
        )
        return cls(trust_domain, builder.sign(key, signature_hash(key)), key)

    @property
    def root_pem(self) -> str:
        return encode_chain([self.root])

    @property
    def trust_bundle(self) -> TrustBundle:
        """What peers need to trust this root alone; see `AuthorityRing` for more than one."""
        return TrustBundle(trust_domain=self.trust_domain, roots_pem=(self.root_pem,))

    @property
    def not_after(self) -> float:
        return self.root.not_valid_after_utc.timestamp()

    def encode(self) -> str:
        """Write the root and its private key as PEM: a secret."""
        return self.root_pem + encode_key(self.key)

    @classmethod
    def decode(cls, pem: str) -> "Authority":
        """Read what `encode` wrote. Raises: IdentityError when a part is missing or the key is not the root's."""
        roots, key = decode_chain(pem), decode_key(pem)
        if len(roots) != 1:
            raise IdentityError(f"{len(roots)} certificates: an authority has one root")
        spiffe_id = spiffe_id_of(roots[0])
        if spiffe_id is None:
            raise IdentityError("the root names no trust domain")
        if public_key_der(roots[0]) != public_key_der(key):
            raise IdentityError("the private key is not the root's")
        return cls(spiffe_id.trust_domain, roots[0], key)

    def sign(
        self,
        csr_pem: str,
        *,
        spiffe_id: SpiffeId,
        lifetime_s: float,
        now: float,
        serial_random: Random,
        names: Sequence[str] = (),
    ) -> str:
        """Return a chain in PEM for the key in the CSR; it never outlives the root.

        `spiffe_id` and `names` are what the caller was authorised for; the CSR must ask for exactly these.
        Raises: IdentityError (unreadable, unsigned, asks for something else, or the root has expired).
        """
        csr = decode_csr(csr_pem)
        wanted = spiffe_id_of(csr)
        if wanted != spiffe_id:
            raise IdentityError(f"the request asks for {wanted or 'no SPIFFE ID'}, authorised is {spiffe_id}")
        try:
            subject_names = subject_alternative_names(spiffe_id, names)
        except ValueError:
            raise IdentityError(f"{', '.join(names)}: not DNS names or IP addresses") from None
        if names_of(csr) != subject_names:
            raise IdentityError(f"the request for {spiffe_id} asks for more names than it is authorised for")
        if spiffe_id.trust_domain != self.trust_domain:
            raise IdentityError(f"{spiffe_id} is not in the trust domain {self.trust_domain}")
        assert lifetime_s > 0
        not_after = min(now + lifetime_s, self.not_after)
        if not_after <= now:
            raise IdentityError(f"the root of {self.trust_domain} expired at {self.root.not_valid_after_utc:%FT%TZ}")
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(csr.public_key())
            .serial_number(serial_number(serial_random))
            .not_valid_before(utc(now - SKEW_S))
            .not_valid_after(utc(not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(_EXTENDED_KEY_USAGE, critical=False)
            # Critical, since the subject is empty. Source: RFC 5280 4.2.1.6; X509-SVID section 2.
            .add_extension(subject_names, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return encode_chain([leaf.sign(self.key, signature_hash(self.key))])


_EXTENDED_KEY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def issue_svid(
    authority: Authority,
    spiffe_id: SpiffeId,
    *,
    lifetime_s: float,
    now: float,
    serial_random: Random,
    names: Sequence[str] = (),
    key_type: KeyType = KeyType.ECDSA_P256,
) -> Svid:
    """Make a key and its certificate in one place: for the authority's own server, whose key need not travel.

    `names` are DNS names and IP addresses by which clients without an identity know the server (`ClientTls.server_name`).
    """
    key = generate_key(key_type)
    chain_pem = authority.sign(
        make_csr(key, spiffe_id, names),
        spiffe_id=spiffe_id,
        lifetime_s=lifetime_s,
        now=now,
        serial_random=serial_random,
        names=names,
    )
    return make_svid(chain_pem, key)


def make_svid(chain_pem: str, key: PrivateKey) -> Svid:
    """Join a chain with its key. Raises: IdentityError when they do not belong together or there is no SPIFFE ID."""
    chain = decode_chain(chain_pem)
    spiffe_id = spiffe_id_of(chain[0])
    if spiffe_id is None:
        raise IdentityError("the certificate has no SPIFFE ID")
    if public_key_der(chain[0]) != public_key_der(key):
        raise IdentityError(f"the certificate of {spiffe_id} is for another key")
    return Svid(
        spiffe_id=spiffe_id,
        chain_pem=chain_pem,
        private_key_pem=encode_key(key),
        not_before=chain[0].not_valid_before_utc.timestamp(),
        not_after=chain[0].not_valid_after_utc.timestamp(),
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
