"""Dataplane tokens: each claim binds, each failure says why and never quotes the token."""

import base64
import hmac
import json
import random

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.identity.tokens import SigningKey, TokenVerifier, issue_dataplane_token
from mesh.model.errors import IdentityError

NOW = 1_000_000_000.0
KEY = SigningKey.create()
OTHER_KEY = SigningKey.create(2)
VERIFIER = TokenVerifier({"1": KEY.public_key})


def token(key: SigningKey = KEY, **claims: object) -> str:
    defaults: dict[str, object] = {
        "mesh": "shop",
        "name": "cart-1",
        "workload": "cart",
        "lifetime_s": 3600.0,
        "now": NOW,
    }
    return issue_dataplane_token(key, random=random.Random(1), **{**defaults, **claims})  # type: ignore[arg-type]


def verify(text: str, verifier: TokenVerifier = VERIFIER, **asked: object):
    whom: dict[str, object] = {"now": NOW, "mesh": "shop", "name": "cart-1", "workload": "cart"}
    return verifier.verify(text, **{**whom, **asked})  # type: ignore[arg-type]


def refusal(text: str, verifier: TokenVerifier = VERIFIER, **asked: object) -> str:
    with pytest.raises(IdentityError) as refused:
        verify(text, verifier, **asked)
    message = str(refused.value)
    for part in text.split("."):
        assert len(part) < 8 or part not in message, "a token stands in no message"
    return message


def test_token_lets_its_dataplane_in() -> None:
    claims = verify(token())
    assert (claims.mesh, claims.name, claims.workload, claims.type) == ("shop", "cart-1", "cart", "dataplane")
    assert (claims.issued_at, claims.not_before, claims.expires_at) == (NOW - 5, NOW - 5, NOW + 3600)


def test_token_has_kumas_shape() -> None:
    text = token(tags={"kuma.io/service": ("cart",)})
    header, payload, _ = (part + "=" * (-len(part) % 4) for part in text.split("."))
    assert json.loads(base64.urlsafe_b64decode(header)) == {"alg": "RS256", "kid": "1", "typ": "JWT"}
    claims = json.loads(base64.urlsafe_b64decode(payload))
    assert sorted(claims) == ["Mesh", "Name", "Tags", "Type", "Workload", "exp", "iat", "jti", "nbf"]
    assert claims["Tags"] == {"kuma.io/service": ["cart"]} and isinstance(claims["iat"], int)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mesh": "bank"}, "the dataplane token is for mesh 'shop', not 'bank'"),
        ({"name": "web-1"}, "the dataplane token is for dataplane 'cart-1', not 'web-1'"),
        ({"workload": "web"}, "the dataplane token is for workload 'cart', not 'web'"),
        ({"now": NOW + 3606}, "the dataplane token expired 6 s ago"),
        ({"now": NOW - 11}, "the dataplane token is not valid for another 6 s"),
    ],
)
def test_each_claim_binds(asked: dict[str, object], message: str) -> None:
    assert refusal(token(), **asked) == message


def test_empty_claims_bind_nothing() -> None:
    loose = token(name="", workload="")
    assert verify(loose, name="web-1", workload="web").name == ""
    assert "mesh" in refusal(loose, mesh="bank")


def test_tags_bind() -> None:
    tagged = token(tags={"kuma.io/service": ("cart", "web")})
    assert verify(tagged, tags={"kuma.io/service": "web", "version": "2"})
    assert "cart or web" in refusal(tagged, tags={"kuma.io/service": "bank"})
    assert "kuma.io/service" in refusal(tagged)


def test_clocks_may_differ_a_little() -> None:
    assert verify(token(), now=NOW + 3604)
    assert verify(token(), now=NOW - 9)


def test_revoked_token_is_refused() -> None:
    text = token()
    verifier = TokenVerifier({"1": KEY.public_key}, revoked={verify(text).token_id})
    assert "was revoked" in refusal(text, verifier)


def test_other_keys_tokens_are_refused() -> None:
    assert "'2', which is not accepted" in refusal(token(OTHER_KEY))
    disguised = jwt.encode({}, OTHER_KEY.key, algorithm="RS256", headers={"kid": "1"})
    assert "not signed with our key 1" in refusal(disguised)


def test_both_keys_are_accepted_while_they_rotate() -> None:
    verifier = TokenVerifier({"1": KEY.public_key, "2": OTHER_KEY.public_key})
    assert verify(token(), verifier) and verify(token(OTHER_KEY), verifier)


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_unsigned_tokens_are_refused() -> None:
    payload = token().split(".")[1]
    unsigned = f"{_part({'alg': 'none', 'kid': '1', 'typ': 'JWT'})}.{payload}."
    assert "not signed with RS256" in refusal(unsigned)


def test_token_signed_with_the_public_key_as_a_password_is_refused() -> None:
    public = KEY.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_part({'alg': 'HS256', 'kid': '1', 'typ': 'JWT'})}.{token().split('.')[1]}"
    signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).rstrip(b"=").decode()
    assert "not signed with RS256" in refusal(f"{signed}.{signature}")


@pytest.mark.parametrize("text", ["", "a.b.c", "hello", "....", "é.é.é", "x" * 20_000])
def test_garbage_is_refused(text: str) -> None:
    refusal(text)


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 400), replacement=st.sampled_from("Aa0_.-é"))
def test_altered_token_is_refused(position: int, replacement: str) -> None:
    text = TOKEN
    altered = text[:position] + replacement + text[position + 1 :]
    if altered != text:
        refusal(altered)


TOKEN = token()


@pytest.mark.parametrize(
    "claims", [{}, {"jti": 1, "iat": 1, "nbf": 1, "exp": 9e9}, {"jti": "a", "iat": 1, "nbf": 1, "exp": "never"}]
)
def test_signed_token_with_wrong_claims_is_refused(claims: dict[str, object]) -> None:
    text = jwt.encode(claims, KEY.key, algorithm="RS256", headers={"kid": "1"})
    assert "a claim of the dataplane token is wrong" in refusal(text)


def test_token_of_another_type_is_refused() -> None:
    claims = {"jti": "a", "iat": 1, "nbf": 1, "exp": 9e9, "Type": "zone"}
    assert "for a 'zone'" in refusal(jwt.encode(claims, KEY.key, algorithm="RS256", headers={"kid": "1"}))


def test_signing_key_survives_writing_and_reading_and_stays_out_of_reprs() -> None:
    again = SigningKey.decode(1, KEY.encode())
    assert verify(token(again)).name == "cart-1"
    assert "Key" not in repr(KEY).removeprefix("SigningKey") and "PRIVATE" not in repr(KEY)
    with pytest.raises(IdentityError, match="token signing key 3"):
        SigningKey.decode(3, "garbage")
