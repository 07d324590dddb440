"""What a token says can be read without the key that signed it; nothing is proven by it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.identity.tokens import SigningKey, issue_dataplane_token, read_claims
from mesh.model.errors import IdentityError

TOKEN = issue_dataplane_token(
    SigningKey.create(), mesh="shop", name="cart-1", lifetime_s=60.0, now=1e9, random=random.Random(1)
)


def test_claims_are_read_whatever_the_signature() -> None:
    for token in (TOKEN, TOKEN.rpartition(".")[0] + ".c2ln"):
        claims = read_claims(token)
        assert (claims.mesh, claims.name, claims.workload, claims.expires_at) == ("shop", "cart-1", "", 1e9 + 60)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(TOKEN)) | st.text(max_size=60))
def test_what_is_no_token_is_refused_without_quoting_it(wrong: int | str) -> None:
    token = wrong if isinstance(wrong, str) else TOKEN[:wrong]
    message = ""
    try:
        read_claims(token)
    except IdentityError as error:
        message = str(error)
    assert not any(len(part) > 8 and part in message for part in token.split("."))


def test_endless_token_is_refused() -> None:
    with pytest.raises(IdentityError, match="longer than 16384 bytes"):
        read_claims("a." * 9000)
