"""gRPC's health service from the caller's side: bytes of its messages, and what a response says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.grpc_health import MESSAGE_BYTES_MAX, complaint_of, decode_status, encode_check
from mesh.protocol.http2_call import Http2Response

SERVING = b"\x00\x00\x00\x00\x02\x08\x01"
GRPC = ((b"content-type", b"application/grpc"),)
OK = ((b"grpc-status", b"0"),)


def response(body: bytes = SERVING, **fields: object) -> Http2Response:
    values = {"status": 200, "headers": GRPC, "trailers": OK, "body": body} | fields
    return Http2Response(**values)  # type: ignore[arg-type]


def framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize(
    ("service", "encoded"),
    [
        ("", b"\x00\x00\x00\x00\x00"),
        ("a.B", b"\x00\x00\x00\x00\x05\x0a\x03a.B"),
        ("s" * 200, b"\x00\x00\x00\x00\xcb\x0a\xc8\x01" + b"s" * 200),
    ],
)
def test_request(service: str, encoded: bytes) -> None:
    assert encode_check(service) == encoded


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),  # proto3 leaves out what is 0
        (b"\x08\x01", 1),
        (b"\x08\x02", 2),
        (b"\x08\x02\x08\x01", 1),  # the last one counts
        (b"\x08\x81\x00", 1),  # a number may be longer than it need be
        (b"\x12\x03abc\x08\x01", 1),  # fields to come are passed over
        (b"\x19" + b"\x00" * 8 + b"\x08\x01", 1),
        (b"\x1d" + b"\x00" * 4 + b"\x08\x03", 3),
        (b"\x10\x05\x08\x01", 1),
    ],
)
def test_status_of_a_message(message: bytes, status: int) -> None:
    assert decode_status(message) == status


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",  # cut off
        b"\x08\x80",
        b"\x08" + b"\xff" * 10,  # more than 64 bits
        b"\x08" + b"\x80" * 11 + b"\x01",
        b"\x0a\x01a",  # the status as text
        b"\x12\x05abc",
        b"\x19\x00",
        b"\x00\x01",  # field 0
        b"\x13\x14",  # a group
        b"\x0e",
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_status(message)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_status_or_an_error(message: bytes) -> None:
    try:
        assert 0 <= decode_status(message) < 1 << 64
    except RemoteProtocolError:
        pass


def test_serving_is_no_complaint() -> None:
    assert complaint_of(response()) == ""
    assert complaint_of(response(headers=((b"content-type", b"application/grpc+proto"),))) == ""


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (response(framed(b"\x08\x02")), "not_serving"),
        (response(framed(b"\x08\x03")), "service_unknown"),
        (response(framed(b"")), "unknown"),
        (response(framed(b"\x08\x07")), "serving status 7"),
        (response(status=503), "HTTP status 503"),
        (response(headers=((b"content-type", b"text/html"),)), "not a gRPC response"),
        (response(headers=((b"content-type", b"application/grpcx"),)), "not a gRPC response"),
        (response(headers=()), "not a gRPC response"),
        (response(trailers=()), "no gRPC status"),
        (response(trailers=((b"grpc-status", b"14"),)), "gRPC status 14"),
        (response(b"", headers=(*GRPC, (b"grpc-status", b"12")), trailers=None), "gRPC status 12"),
        (response(b"", headers=GRPC, trailers=None), "no gRPC status"),
        (response(headers=(*GRPC, *OK), trailers=()), "no gRPC status"),
        (response(b""), "no message"),
        (response(b"\x01\x00\x00\x00\x02\x08\x01"), "a compressed message"),
        (response(SERVING + SERVING), "not exactly one message"),
        (response(SERVING[:-1]), "not exactly one message"),
        (response(framed(b"\x12\xff\x1f" + b"x" * MESSAGE_BYTES_MAX)), "not exactly one message"),
        (response(framed(b"\x08")), "a number that is cut off or too long"),
    ],
)
def test_everything_else_is_a_complaint(answer: Http2Response, complaint: str) -> None:
    assert complaint_of(answer) == complaint
