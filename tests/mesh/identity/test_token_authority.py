"""Which key signs, which are accepted, what is revoked: all from what stands in secrets."""

import random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mesh.identity.token_authority import (
    OfflineKey,
    TokenAuthority,
    TokenKind,
    revocations_secret,
    revoked_ids,
    signing_key_secret,
    with_revocation,
)
from mesh.identity.tokens import LIFETIME_S_MAX, SigningKey, issue_dataplane_token, issue_user_token, read_payload
from mesh.model.errors import IdentityError

NOW = 1_800_000_000.0
FIRST, SECOND = SigningKey.create(1), SigningKey.create(2)
USER_1, USER_2 = (signing_key_secret(TokenKind.USER, serial) for serial in (1, 2))
SHOP_1 = signing_key_secret(TokenKind.DATAPLANE, 1, mesh="shop")
ISSUING: dict[str, Any] = {"lifetime_s": 60.0, "now": NOW}


def data(key: SigningKey) -> bytes:
    return key.encode().encode()


def chance() -> random.Random:
    return random.Random(3)


def user_token(authority: TokenAuthority) -> str:
    return authority.issue_user(name="jo", groups=("team",), random=chance(), **ISSUING)


def header_kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_names_of_secrets_are_kumas() -> None:
    assert SHOP_1 == ("Secret", "shop", "dataplane-token-signing-key-shop-1")
    assert USER_1 == ("GlobalSecret", "", "user-token-signing-key-1")
    assert signing_key_secret(TokenKind.ZONE, 7) == ("GlobalSecret", "", "zone-token-signing-key-7")
    shop = revocations_secret(TokenKind.DATAPLANE, mesh="shop")
    assert shop == ("Secret", "shop", "dataplane-token-revocations-shop")
    assert revocations_secret(TokenKind.USER) == ("GlobalSecret", "", "user-token-revocations")


def test_newest_key_signs_and_older_ones_are_accepted_until_they_go() -> None:
    authority = TokenAuthority({USER_1: data(FIRST)})
    old = user_token(authority)
    authority.secret_changed(USER_2, data(SECOND))
    new = user_token(authority)
    assert (header_kid(old), header_kid(new)) == ("1", "2")
    assert authority.verify_user(old, now=NOW).name == authority.verify_user(new, now=NOW).name == "jo"
    authority.secret_changed(USER_1, None)
    with pytest.raises(IdentityError, match="'1', which is not accepted"):
        authority.verify_user(old, now=NOW)
    assert authority.verify_user(new, now=NOW).groups == ("team",)


def test_rotation_makes_the_next_serial() -> None:
    authority = TokenAuthority({USER_1: data(FIRST), signing_key_secret(TokenKind.USER, 9): data(SECOND)})
    key, made = authority.next_signing_key(TokenKind.USER)
    assert key == signing_key_secret(TokenKind.USER, 10)
    authority.secret_changed(key, made)
    assert authority.serials(TokenKind.USER) == (1, 9, 10) and header_kid(user_token(authority)) == "10"
    assert TokenAuthority().next_signing_key(TokenKind.DATAPLANE, mesh="shop")[0] == SHOP_1


def test_meshes_have_keys_of_their_own() -> None:
    authority = TokenAuthority(
        {SHOP_1: data(FIRST), signing_key_secret(TokenKind.DATAPLANE, 1, mesh="bank"): data(SECOND)}
    )
    token = authority.issue_dataplane(mesh="shop", name="cart-1", random=chance(), **ISSUING)
    assert authority.verify_dataplane(token, now=NOW, mesh="shop", name="cart-1").mesh == "shop"
    with pytest.raises(IdentityError, match="not signed with our key"):
        authority.verify_dataplane(token, now=NOW, mesh="bank", name="cart-1")
    with pytest.raises(IdentityError, match="not accepted here"):
        authority.verify_dataplane(token, now=NOW, mesh="none", name="cart-1")
    forged = issue_dataplane_token(FIRST, mesh="bank", name="cart-1", random=chance(), **ISSUING)
    with pytest.raises(IdentityError):
        authority.verify_dataplane(forged, now=NOW, mesh="bank", name="cart-1")
    with pytest.raises(IdentityError, match="for mesh 'bank'"):
        authority.verify_dataplane_of("shop", forged, now=NOW)


def test_revoked_tokens_are_refused_at_once_and_forgiven_when_taken_off() -> None:
    authority = TokenAuthority({USER_1: data(FIRST)})
    token = user_token(authority)
    token_id = read_payload(token)["jti"]
    authority.secret_changed(revocations_secret(TokenKind.USER), f" other , {token_id},,\n".encode())
    with pytest.raises(IdentityError, match=f"{token_id} was revoked"):
        authority.verify_user(token, now=NOW)
    authority.secret_changed(revocations_secret(TokenKind.USER), None)
    assert authority.verify_user(token, now=NOW)


def test_revocations_are_a_list_with_commas() -> None:
    assert revoked_ids(b"a, b ,,c\n") == ("a", "b", "c") and revoked_ids(b"") == () and revoked_ids(b"\xff")
    assert with_revocation(b"", "a") == b"a" and with_revocation(b"a , b", "c") == b"a,b,c"
    assert with_revocation(b"a,b", "a") == b"a,b"


def test_damaged_key_keeps_others_working_and_cannot_sign() -> None:
    authority = TokenAuthority({USER_1: data(FIRST)})
    token = user_token(authority)
    authority.secret_changed(USER_2, b"garbage")
    assert authority.verify_user(token, now=NOW)
    with pytest.raises(IdentityError, match="token signing key 2"):
        user_token(authority)


def test_without_a_key_nothing_is_signed_or_accepted() -> None:
    with pytest.raises(IdentityError, match="cannot sign a user token: there is no signing key"):
        user_token(TokenAuthority())
    with pytest.raises(IdentityError, match="of the mesh 'shop'"):
        TokenAuthority().issue_dataplane(mesh="shop", random=chance(), **ISSUING)


@pytest.mark.parametrize(
    "name",
    [
        "user-token-signing-key-",
        "user-token-signing-key-0",
        "user-token-signing-key-01",
        "user-token-signing-key-x",
        "user-token-signing-key-1-2",
        "user-token-signing-key-٣",
        "user-token-signing-key-99999999999",
        "other-1",
    ],
)
def test_other_secrets_are_passed_over(name: str) -> None:
    authority = TokenAuthority({("GlobalSecret", "", name): data(FIRST), ("Secret", "shop", USER_1[2]): data(FIRST)})
    assert authority.serials(TokenKind.USER) == ()


def test_keys_kept_offline_verify_by_their_own_names() -> None:
    def pem(key: SigningKey) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key.public_bytes(serialization.Encoding.PEM, form).decode()

    keys = (
        OfflineKey(kind=TokenKind.USER, kid="ci-2026", public_key_pem=pem(FIRST)),
        OfflineKey(kind=TokenKind.DATAPLANE, kid="ci-2026", public_key_pem=pem(FIRST), mesh="shop"),
    )
    authority = TokenAuthority({USER_1: data(SECOND)}, offline_keys=keys)
    offline = SigningKey("ci-2026", FIRST.key)
    assert authority.verify_user(issue_user_token(offline, name="ci", random=chance(), **ISSUING), now=NOW).name == "ci"
    token = issue_dataplane_token(offline, mesh="shop", name="cart-1", random=chance(), **ISSUING)
    assert authority.verify_dataplane(token, now=NOW, mesh="shop", name="cart-1")
    assert header_kid(user_token(authority)) == "1", "what is kept offline signs nothing here"
    with pytest.raises(IdentityError, match="'x' is not a public key"):
        TokenAuthority(offline_keys=[OfflineKey(kind=TokenKind.USER, kid="x", public_key_pem="garbage")])


def test_one_kind_of_token_never_passes_for_another_even_with_one_key_for_all() -> None:
    keys = {USER_1: data(FIRST), signing_key_secret(TokenKind.ZONE, 1): data(FIRST), SHOP_1: data(FIRST)}
    authority = TokenAuthority(keys)
    dataplane = authority.issue_dataplane(mesh="shop", name="jo", random=chance(), **ISSUING)
    zone = authority.issue_zone(zone="east", random=chance(), **ISSUING)
    for token in (dataplane, zone):
        with pytest.raises(IdentityError, match="belongs to another kind of token"):
            authority.verify_user(token, now=NOW)
    for token in (dataplane, user_token(authority)):
        with pytest.raises(IdentityError, match="another kind"):
            authority.verify_zone(token, now=NOW)
    for token in (zone, user_token(authority)):
        with pytest.raises(IdentityError, match="another kind"):
            authority.verify_dataplane_of("shop", token, now=NOW)


@pytest.mark.parametrize("lifetime_s", [0.0, -1.0, LIFETIME_S_MAX + 1, float("nan"), float("inf")])
def test_lifetimes_are_bounded(lifetime_s: float) -> None:
    with pytest.raises(IdentityError, match="lives from 1 s to ten years"):
        issue_user_token(FIRST, name="jo", lifetime_s=lifetime_s, now=NOW, random=chance())


def test_keys_come_in_kumas_forms_and_short_ones_are_refused() -> None:
    old = serialization.PrivateFormat.TraditionalOpenSSL
    for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        content = FIRST.key.private_bytes(encoding, old, serialization.NoEncryption())
        assert SigningKey.decode(1, content).encode() == FIRST.encode()
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = short.private_bytes(serialization.Encoding.PEM, old, serialization.NoEncryption())
    with pytest.raises(IdentityError, match="has 1024 bits"):
        SigningKey.decode(1, pem)


@pytest.mark.parametrize("between", [",", "\n", "\r\n", " ", ", "])
def test_ids_of_revoked_tokens_may_stand_one_a_line(between: str) -> None:
    assert revoked_ids(between.join(["a", "b", "c"]).encode()) == ("a", "b", "c")
    assert with_revocation(f"a{between}b\n".encode(), "b") == b"a,b"


@pytest.mark.parametrize("claims", [{"exp": float("nan")}, {"exp": float("inf")}, {"jti": "a b"}, {"jti": ""}])
def test_token_that_would_never_end_or_could_not_be_revoked_is_refused(claims: dict[str, Any]) -> None:
    authority = TokenAuthority({USER_1: data(FIRST)})
    payload = {**read_payload(user_token(authority)), **claims}
    token = jwt.encode(payload, FIRST.key, algorithm="RS256", headers={"kid": "1"})
    with pytest.raises(IdentityError, match="claim of the user token is wrong"):
        authority.verify_user(token, now=NOW)
