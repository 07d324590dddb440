"""The authority signs what was authorised and nothing else."""

import random

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mesh.identity.authority import ROOT_LIFETIME_S, Authority, issue_svid, make_svid
from mesh.identity.certificate import KeyType, decode_chain, generate_key, make_csr, names_of
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import SpiffeId
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, svid

ROOT = authority()


def sign(issuer: Authority, csr: str, *, spiffe_id: SpiffeId = WEB, now: float = NOW, lifetime_s: float = DAY_S) -> str:
    return issuer.sign(csr, spiffe_id=spiffe_id, lifetime_s=lifetime_s, now=now, serial_random=random.Random(5))


def test_leaf_is_a_spiffe_certificate() -> None:
    (leaf,) = decode_chain(sign(ROOT, make_csr(generate_key(KeyType.ECDSA_P256), WEB)))
    extensions = leaf.extensions
    names = names_of(leaf)
    assert names is not None and [name.value for name in names] == ["spiffe://mesh.example/web"]
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_cert_sign
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [purpose.dotted_string for purpose in purposes] == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
    assert leaf.not_valid_before_utc.timestamp() == NOW - 10
    assert leaf.not_valid_after_utc.timestamp() == NOW + DAY_S


def test_root_lives_ten_years_and_signs_no_authorities() -> None:
    constraints = ROOT.root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0
    assert ROOT.not_after == NOW + ROOT_LIFETIME_S


def test_request_for_another_identity_is_refused() -> None:
    with pytest.raises(
        IdentityError, match=r"asks for spiffe://mesh\.example/cart, authorised is spiffe://mesh\.example/web"
    ):
        sign(ROOT, make_csr(generate_key(KeyType.ED25519), CART))


def test_request_for_more_names_is_refused() -> None:
    with pytest.raises(IdentityError, match="more names"):
        sign(ROOT, make_csr(generate_key(KeyType.ED25519), WEB, names=("bank.example",)))


def test_request_for_two_identities_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    uris = [x509.UniformResourceIdentifier(str(spiffe_id)) for spiffe_id in (WEB, CART)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(x509.SubjectAlternativeName(uris), critical=True).sign(key, hashes.SHA256())
    with pytest.raises(IdentityError, match="exactly one"):
        sign(ROOT, csr.public_bytes(serialization.Encoding.PEM).decode())


def test_request_without_identity_or_with_an_odd_key_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for key, message in (
        (ec.generate_private_key(ec.SECP256R1()), "no SPIFFE ID"),
        (ec.generate_private_key(ec.SECP384R1()), "P-256 or Ed25519"),
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), "P-256 or Ed25519"),
    ):
        csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        with pytest.raises(IdentityError, match=message):
            sign(ROOT, csr)


def test_identity_of_another_trust_domain_is_refused() -> None:
    stranger = SpiffeId("other.example", "/web")
    with pytest.raises(IdentityError, match="not in the trust domain"):
        sign(ROOT, make_csr(generate_key(KeyType.ED25519), stranger), spiffe_id=stranger)


def test_leaf_never_outlives_its_root() -> None:
    short = Authority.create("mesh.example", now=NOW, serial_random=random.Random(1), lifetime_s=100.0)
    csr = make_csr(generate_key(KeyType.ED25519), WEB)
    (leaf,) = decode_chain(sign(short, csr))
    assert leaf.not_valid_after_utc.timestamp() == NOW + 100
    with pytest.raises(IdentityError, match="expired at 2001-09-09T01:48:20Z"):
        sign(short, csr, now=NOW + 100)


def test_authority_survives_writing_and_reading() -> None:
    again = Authority.decode(ROOT.encode())
    assert again.root_pem == ROOT.root_pem and again.trust_domain == "mesh.example"
    with pytest.raises(IdentityError, match="not the root's"):
        Authority.decode(ROOT.root_pem + authority().encode().split("-----END CERTIFICATE-----\n")[1])
    with pytest.raises(IdentityError):
        Authority.decode(ROOT.root_pem)


def test_key_never_stands_in_a_repr() -> None:
    own = svid(ROOT, WEB)
    for shown in (repr(ROOT), repr(own)):
        assert "PRIVATE" not in shown and "private_key" not in shown and "Key object" not in shown


def test_bad_trust_domain_is_the_operators_error() -> None:
    with pytest.raises(ConfigError):
        Authority.create("Not A Domain", now=NOW, serial_random=random.Random(1))


def test_server_certificates_carry_names_too() -> None:
    own = issue_svid(
        ROOT,
        SpiffeId("mesh.example", "/control-plane"),
        lifetime_s=DAY_S,
        now=NOW,
        serial_random=random.Random(1),
        names=("localhost", "127.0.0.1"),
    )
    names = names_of(decode_chain(own.chain_pem)[0])
    assert names is not None and [str(name.value) for name in names] == [
        "spiffe://mesh.example/control-plane",
        "localhost",
        "127.0.0.1",
    ]


def test_chain_of_another_key_makes_no_svid() -> None:
    with pytest.raises(IdentityError, match="another key"):
        make_svid(svid(ROOT, WEB).chain_pem, generate_key(KeyType.ED25519))
    assert attrs.fields(type(svid(ROOT, WEB))).private_key_pem.repr is False
