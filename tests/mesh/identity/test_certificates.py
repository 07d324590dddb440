"""Keys, requests and serial numbers."""

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.identity.certificate import (
    KeyType,
    decode_chain,
    decode_csr,
    decode_key,
    encode_key,
    generate_key,
    make_csr,
    public_key_der,
    serial_number,
    spiffe_id_of,
)
from mesh.model.errors import IdentityError
from tests.mesh.identity.identity_credentials import CART, WEB, authority, svid


@settings(max_examples=100, deadline=None)
@given(st.integers())
def test_serial_numbers_always_take_sixteen_bytes(seed: int) -> None:
    serial = serial_number(random.Random(seed))
    assert 0x40 <= serial.to_bytes(16)[0] <= 0x7F, "DER neither adds a sign byte nor drops one"


def test_ed25519_certificates_of_one_name_have_one_length() -> None:
    root = authority()
    assert len({len(svid(root, WEB).chain_pem) for _ in range(5)}) == 1


@pytest.mark.parametrize("key_type", list(KeyType))
def test_keys_survive_writing_and_reading(key_type: KeyType) -> None:
    key = generate_key(key_type)
    assert public_key_der(decode_key(encode_key(key))) == public_key_der(key)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_request_names_one_identity(key_type: KeyType) -> None:
    csr = decode_csr(make_csr(generate_key(key_type), WEB))
    assert spiffe_id_of(csr) == WEB


@pytest.mark.parametrize("garbage", ["", "-----BEGIN NOTHING-----", "\x00é"])
def test_garbage_is_an_identity_error(garbage: str) -> None:
    for decode in (decode_key, decode_csr, decode_chain):
        with pytest.raises(IdentityError):
            decode(garbage)


def test_unreadable_key_is_not_quoted() -> None:
    pem = encode_key(generate_key(KeyType.ED25519)).replace("MC4C", "XXXX")
    with pytest.raises(IdentityError) as error:
        decode_key(pem)
    assert "XXXX" not in str(error.value)
    assert error.value.__cause__ is None


def test_request_signed_with_another_key_is_refused() -> None:
    pem = make_csr(generate_key(KeyType.ED25519), CART)
    der = bytearray(base64.b64decode("".join(pem.splitlines()[1:-1])))
    der[-1] ^= 1
    altered = "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(IdentityError):
        decode_csr(altered.format(base64.b64encode(der).decode()))
