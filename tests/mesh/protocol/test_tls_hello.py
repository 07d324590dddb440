"""ClientHello: what OpenSSL sends is read; any prefix is incomplete; broken structure is refused."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.detection import Detected, detect
from mesh.protocol.tls_hello import HELLO_BYTES_MAX, ClientHello, parse_client_hello


def hello_of_openssl(server_name: str | None, alpn: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    sent = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return sent.read()


HELLO = hello_of_openssl("Inventory.mesh", ["h2", "http/1.1"])


def test_hello_of_openssl_is_read() -> None:
    hello = parse_client_hello(HELLO)
    assert hello is not None
    assert (hello.server_name, hello.alpn) == ("inventory.mesh", (b"h2", b"http/1.1"))
    assert 0x0304 in hello.versions
    assert detect(HELLO) is Detected.TLS


def test_hello_without_name_and_alpn() -> None:
    hello = parse_client_hello(hello_of_openssl(None, []))
    assert hello is not None
    assert (hello.server_name, hello.alpn) == (None, ())


def test_every_prefix_is_incomplete() -> None:
    assert all(parse_client_hello(HELLO[:end]) is None for end in range(len(HELLO)))


def in_records(message: bytes, size: int) -> bytes:
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_hello_in_several_records_is_joined(size: int) -> None:
    assert parse_client_hello(in_records(HELLO[5:], size)) == parse_client_hello(HELLO)


def hello_with(extensions: bytes) -> bytes:
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\0"
        + b"\0\x02\x13\x01"
        + b"\x01\0"
        + len(extensions).to_bytes(2, "big")
        + extensions
    )
    return in_records(b"\x01" + len(body).to_bytes(3, "big") + body, 16384)


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def name(host: bytes) -> bytes:
    entry = b"\0" + len(host).to_bytes(2, "big") + host
    return extension(0, len(entry).to_bytes(2, "big") + entry)


def test_hello_made_by_hand() -> None:
    hello = parse_client_hello(
        hello_with(name(b"a.b") + extension(43, b"\x02\x03\x04") + extension(16, b"\0\x03\x02h2"))
    )
    assert hello == ClientHello(server_name="a.b", alpn=(b"h2",), versions=(0x0304,))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        in_records(b"\x01\x00\x3f\x00" + bytes(HELLO_BYTES_MAX), 1),
        hello_with(name(b"a") + name(b"b")),
        hello_with(name(b"")),
        hello_with(name(b"a b")),
        hello_with(name(b"a\0b")),
        hello_with(name(b"a" * 64)),
        hello_with(extension(0, b"\0\x05\0\0\x09ab")),
        hello_with(extension(16, b"\0\0")),
        hello_with(extension(16, b"\0\x01\0")),
        hello_with(extension(43, b"\x03\x03\x04\x03")),
        hello_with(extension(43, b"\0")),
        hello_with(b"\0"),
    ],
)
def test_broken_hello_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_client_hello(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_flipped_bytes_raise_only_remote_protocol_error(data: st.DataObject) -> None:
    broken = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(HELLO) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_client_hello(bytes(broken))
    except RemoteProtocolError:
        pass
