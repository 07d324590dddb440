"""Messages: strict, bounded, and silent about tokens."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from mesh.discovery.messages import (
    MESSAGE_BYTES_MAX,
    Ack,
    Hello,
    Push,
    Refused,
    decode_control_plane_message,
    decode_sidecar_message,
    encode_message,
    shorten,
)
from mesh.model.errors import LocalProtocolError, RemoteProtocolError

VERSION = "0123456789abcdef"
HELLO = Hello(token="header.claims.signature", dataplane={"type": "Dataplane", "name": "web-1"}, version=VERSION)


def test_hello_survives_the_wire() -> None:
    assert decode_sidecar_message(encode_message(HELLO)) == HELLO


def test_parts_of_a_push_stay_the_bytes_that_they_were() -> None:
    push = Push(version=VERSION, nonce=1, upserts={"proxy": msgspec.Raw(b'{"b": 1,  "a": 2}')}, removed=("inbound/x",))
    received = decode_control_plane_message(encode_message(push))
    assert isinstance(received, Push)
    assert bytes(received.upserts["proxy"]) == b'{"b": 1,  "a": 2}'


def test_token_is_in_no_text_of_a_hello() -> None:
    assert "signature" not in repr(HELLO)
    assert "signature" not in f"{HELLO}"


@pytest.mark.parametrize(
    "document",
    [
        {"type": "ack", "version": VERSION, "nonce": 1, "extra": True},
        {"type": "ack", "version": "not a digest", "nonce": 1},
        {"type": "ack", "version": VERSION, "nonce": 0},
        {"type": "ack", "version": VERSION},
        {"type": "welcome", "session": VERSION, "heartbeat_s": 5.0, "lease_s": 15.0},
        {"type": "unheard_of"},
        {"version": VERSION},
        ["ack"],
        "ack",
    ],
)
def test_anything_that_is_no_message_of_a_sidecar_is_the_peers_error(document: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_sidecar_message(msgspec.json.encode(document))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rubbish_is_the_peers_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_control_plane_message(data)


def test_deep_nesting_is_the_peers_error() -> None:
    depth = 100_000
    data = b'{"type":"hello","token":"","dataplane":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    with pytest.raises(RemoteProtocolError):
        decode_sidecar_message(data)


def test_messages_over_the_limit_are_neither_sent_nor_taken() -> None:
    large = Hello(token="", dataplane={"name": "x" * MESSAGE_BYTES_MAX})
    with pytest.raises(LocalProtocolError):
        encode_message(large)
    with pytest.raises(RemoteProtocolError):
        decode_sidecar_message(b" " * (MESSAGE_BYTES_MAX + 1))


def test_messages_of_one_side_are_not_the_others() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_control_plane_message(encode_message(Ack(version=VERSION, nonce=1)))
    with pytest.raises(RemoteProtocolError):
        decode_sidecar_message(encode_message(Refused(kind="token", reason="", retryable=False)))


def test_long_reasons_are_cut_to_what_a_message_may_carry() -> None:
    refused = Refused(kind="dataplane", reason=shorten("é" * 10_000), retryable=False)
    assert decode_control_plane_message(encode_message(refused)) == refused
    assert shorten("short") == "short"
