"""Whom to believe: paths, dates, trust domains, names."""

import datetime
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from mesh.identity.authority import Authority
from mesh.identity.certificate import chain_der, decode_chain, encode_chain
from mesh.identity.certificate_path import Fault, PeerRefused, Role
from mesh.identity.trust import PathCache, PeerVerifier, verify_peer
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import TrustBundle
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, svid

ROOT = authority()
TRUST = (ROOT.trust_bundle,)


def der(pem: str) -> tuple[bytes, ...]:
    return chain_der(decode_chain(pem))


WEB_CHAIN = der(svid(ROOT, WEB).chain_pem)


class Built:
    """A certificate made by hand, to be wrong in one way at a time."""

    def __init__(
        self, issuer: "Built | None", name: str, *extensions: x509.ExtensionType, critical: bool = True
    ) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = issuer or self
        start = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(random.Random(name).getrandbits(100) + 1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=critical)
        self.certificate = builder.sign(signer.key, None)

    @property
    def der(self) -> bytes:
        return chain_der([self.certificate])[0]


def usage(*, sign: bool) -> x509.KeyUsage:
    names = "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
    flags = dict.fromkeys(names.split(), False)
    return x509.KeyUsage(digital_signature=not sign, key_cert_sign=sign, **flags)


CA = (x509.BasicConstraints(ca=True, path_length=None), usage(sign=True))
LEAF = (
    x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(WEB))]),
    x509.BasicConstraints(ca=False, path_length=None),
    usage(sign=False),
)


def judge(chain: list[Built], root: Built, *, role: Role = Role.CLIENT) -> SpiffeId | None:
    trust = (TrustBundle(trust_domain="mesh.example", roots_pem=(encode_chain([root.certificate]),)),)
    return verify_peer([built.der for built in chain], trust=trust, role=role, now=NOW + 1)


def fault_of(chain: list[Built], root: Built, *, role: Role = Role.CLIENT) -> Fault:
    with pytest.raises(PeerRefused) as refused:
        judge(chain, root, role=role)
    return refused.value.fault


def test_client_of_our_authority_is_accepted_by_its_identity() -> None:
    assert verify_peer(WEB_CHAIN, trust=TRUST, role=Role.CLIENT, now=NOW) == WEB
    assert verify_peer(WEB_CHAIN, trust=TRUST, role=Role.SERVER, expected_peers=(CART, WEB), now=NOW) == WEB


def test_unexpected_identity_is_refused_with_both_names() -> None:
    with pytest.raises(PeerRefused, match=r"expected spiffe://mesh\.example/cart, got spiffe://mesh\.example/web"):
        verify_peer(WEB_CHAIN, trust=TRUST, role=Role.SERVER, expected_peers=(CART,), now=NOW)


def test_server_is_refused_where_nobody_is_expected() -> None:
    with pytest.raises(PeerRefused, match="nobody is expected"):
        verify_peer(WEB_CHAIN, trust=TRUST, role=Role.SERVER, now=NOW)


def test_dates_count_to_the_second() -> None:
    for now in (NOW - 10, NOW + DAY_S):
        assert verify_peer(WEB_CHAIN, trust=TRUST, role=Role.CLIENT, now=now) == WEB
    for now, fault in ((NOW - 10.5, Fault.NOT_YET_VALID), (NOW + DAY_S + 0.5, Fault.EXPIRED)):
        with pytest.raises(PeerRefused) as refused:
            verify_peer(WEB_CHAIN, trust=TRUST, role=Role.CLIENT, now=now)
        assert refused.value.fault is fault


def test_authority_with_the_same_name_and_another_key_is_unknown() -> None:
    with pytest.raises(PeerRefused) as refused:
        verify_peer(WEB_CHAIN, trust=(authority().trust_bundle,), role=Role.CLIENT, now=NOW)
    assert refused.value.fault is Fault.UNKNOWN_AUTHORITY


def test_root_vouches_for_its_own_trust_domain_only() -> None:
    # The root of other.example issues an identity of mesh.example.
    other = authority("other.example")
    rogue = Authority("mesh.example", other.root, other.key)
    forged = der(svid(rogue, WEB).chain_pem)
    trust = (ROOT.trust_bundle, other.trust_bundle)
    with pytest.raises(PeerRefused, match=r"vouched for by a root of other\.example") as refused:
        verify_peer(forged, trust=trust, role=Role.CLIENT, now=NOW)
    assert refused.value.fault is Fault.UNKNOWN_AUTHORITY
    # One root may stand for several trust domains if the operator says so.
    shared = (*trust, TrustBundle(trust_domain="mesh.example", roots_pem=(other.root_pem,)))
    assert verify_peer(forged, trust=shared, role=Role.CLIENT, now=NOW) == WEB


def test_chain_over_an_intermediate_is_followed() -> None:
    root = Built(None, "root", *CA)
    intermediate = Built(root, "intermediate", *CA)
    leaf = Built(intermediate, "leaf", *LEAF)
    assert judge([leaf, intermediate], root) == WEB
    assert judge([leaf, intermediate, root], root) == WEB
    assert fault_of([leaf], root) is Fault.UNKNOWN_AUTHORITY
    assert fault_of([leaf, root], root) is Fault.UNKNOWN_AUTHORITY


def test_leaf_that_signs_others_is_refused() -> None:
    root = Built(None, "root", *CA)
    leaf = Built(root, "leaf", *LEAF)
    forged = Built(leaf, "forged", *LEAF)
    assert fault_of([forged, leaf], root) is Fault.MALFORMED
    no_constraints = Built(root, "no constraints", usage(sign=True))
    assert fault_of([Built(no_constraints, "leaf", *LEAF), no_constraints], root) is Fault.MALFORMED
    no_usage = Built(root, "no usage", x509.BasicConstraints(ca=True, path_length=None), usage(sign=False))
    assert fault_of([Built(no_usage, "leaf", *LEAF), no_usage], root) is Fault.MALFORMED


def test_root_without_ca_flag_is_no_root() -> None:
    root = Built(None, "root", x509.BasicConstraints(ca=False, path_length=None))
    assert fault_of([Built(root, "leaf", *LEAF)], root) is Fault.MALFORMED


def test_path_length_is_kept() -> None:
    root = Built(None, "root", x509.BasicConstraints(ca=True, path_length=0), usage(sign=True))
    intermediate = Built(root, "intermediate", *CA)
    assert fault_of([Built(intermediate, "leaf", *LEAF), intermediate], root) is Fault.MALFORMED
    assert judge([Built(root, "leaf", *LEAF)], root) == WEB


def test_authority_certificate_is_no_peer() -> None:
    root = Built(None, "root", *CA)
    assert fault_of([Built(root, "leaf", LEAF[0], *CA)], root) is Fault.MALFORMED


@pytest.mark.parametrize("extensions", [LEAF[:2], (*LEAF[:2], usage(sign=True))])
def test_leaf_needs_the_usage_digital_signature(extensions: tuple[x509.ExtensionType, ...]) -> None:
    root = Built(None, "root", *CA)
    assert fault_of([Built(root, "leaf", *extensions)], root) is Fault.MALFORMED


def test_extended_usage_limits_the_role() -> None:
    root = Built(None, "root", *CA)
    leaf = Built(root, "leaf", *LEAF, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))
    assert judge([leaf], root) == WEB
    assert fault_of([leaf], root, role=Role.SERVER) is Fault.MALFORMED


def test_critical_extension_that_is_not_understood_is_refused() -> None:
    root = Built(None, "root", *CA)
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert fault_of([Built(root, "leaf", *LEAF, strange)], root) is Fault.MALFORMED
    assert judge([Built(root, "leaf", *LEAF, strange, critical=False)], root) == WEB


def test_identity_must_be_one_and_readable() -> None:
    root = Built(None, "root", *CA)
    for uris in (("spiffe://mesh.example/a", "spiffe://mesh.example/b"), ("https://mesh.example/a",)):
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        assert fault_of([Built(root, "leaf", names, *LEAF[1:])], root) is Fault.MALFORMED
    dns = x509.SubjectAlternativeName([x509.DNSName("web.example")])
    assert fault_of([Built(root, "leaf", dns, *LEAF[1:])], root) is Fault.WRONG_IDENTITY


def test_wildcards_stand_for_one_label() -> None:
    root = Built(None, "root", *CA)
    dns = x509.SubjectAlternativeName([x509.DNSName("*.example")])
    leaf = Built(root, "leaf", dns, *LEAF[1:])
    trust = (TrustBundle(trust_domain="mesh.example", roots_pem=(encode_chain([root.certificate]),)),)
    for name, accepted in (("web.example", True), ("WEB.example.", True), ("a.web.example", False), ("example", False)):
        try:
            verify_peer([leaf.der], trust=trust, role=Role.SERVER, server_name=name, now=NOW + 1)
        except PeerRefused:
            assert not accepted
        else:
            assert accepted


@pytest.mark.parametrize("chain", [(b"garbage",), (WEB_CHAIN[0][:-1],), (WEB_CHAIN[0],) * 7])
def test_garbage_is_refused(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(PeerRefused) as refused:
        verify_peer(chain, trust=TRUST, role=Role.CLIENT, now=NOW)
    assert refused.value.fault is Fault.MALFORMED


def test_no_certificate_is_missing() -> None:
    with pytest.raises(PeerRefused) as refused:
        verify_peer((), trust=TRUST, role=Role.CLIENT, now=NOW)
    assert refused.value.fault is Fault.MISSING


def test_unreadable_root_is_an_identity_error() -> None:
    with pytest.raises(IdentityError):
        PeerVerifier((TrustBundle(trust_domain="mesh.example", roots_pem=("garbage",)),), role=Role.CLIENT)


def test_cached_path_still_expires_and_still_answers_to_expectations() -> None:
    cache = PathCache()
    verifier = PeerVerifier(TRUST, role=Role.CLIENT, cache=cache)
    for _ in range(2):
        assert verifier.verify(WEB_CHAIN, NOW) == WEB
    with pytest.raises(PeerRefused, match="expired"):
        verifier.verify(WEB_CHAIN, NOW + DAY_S + 1)
    expecting = PeerVerifier(TRUST, role=Role.CLIENT, expected_peers=(CART,), cache=cache)
    with pytest.raises(PeerRefused, match="expected"):
        expecting.verify(WEB_CHAIN, NOW)
    distrusting = PeerVerifier((authority().trust_bundle,), role=Role.CLIENT, cache=cache)
    with pytest.raises(PeerRefused, match="no trusted root"):
        distrusting.verify(WEB_CHAIN, NOW)


def test_resumed_session_may_show_the_leaf_alone_once_its_path_was_seen() -> None:
    root = Built(None, "root", *CA)
    intermediate = Built(root, "intermediate", *CA)
    leaf = Built(intermediate, "leaf", *LEAF)
    trust = (TrustBundle(trust_domain="mesh.example", roots_pem=(encode_chain([root.certificate]),)),)
    verifier = PeerVerifier(trust, role=Role.CLIENT)
    with pytest.raises(PeerRefused):
        verifier.verify([leaf.der], NOW + 1)
    assert verifier.verify([leaf.der, intermediate.der], NOW + 1) == WEB
    assert verifier.verify([leaf.der], NOW + 1) == WEB
