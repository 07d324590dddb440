"""ClientHello: what a TLS client asks for, read from peeked bytes without ending its TLS.

Reads server name, ALPN and versions; judges the structure strictly, the cryptography not at all.
Source: RFC 8446 section 4.1.2, RFC 6066 section 3 (server name), RFC 7301 (ALPN).
"""

import re

import attrs

from mesh.model.errors import RemoteProtocolError

HELLO_BYTES_MAX = 16384  # Post-quantum key shares make hellos of 2 KiB; nobody needs eight times that.

_RECORD_BYTES_MAX = 16384
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_HOST_NAME = re.compile(rb"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


@attrs.frozen(kw_only=True)
class ClientHello:
    """What the client asked for. Versions are the numbers on the wire: 0x0304 is TLS 1.3."""

    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Read the ClientHello that `data` begins with; None while it is incomplete. Raises: RemoteProtocolError."""
    message = _handshake_message(data)
    if message is None:
        return None
    reader = _Reader(message)
    legacy_version = reader.number(2)
    reader.take(32)
    reader.vector(1, at_most=32)  # session id
    ciphers = reader.vector(2)
    compressions = reader.vector(1)
    if len(ciphers) < 2 or len(ciphers) % 2 or 0 not in compressions:
        raise RemoteProtocolError("a ClientHello without cipher suites or with compression alone")
    hello = ClientHello(versions=(legacy_version,))
    if reader.left():
        hello = _read_extensions(reader.vector(2), hello)
        if reader.left():
            raise RemoteProtocolError("bytes after the ClientHello's extensions")
    return hello


def _handshake_message(data: bytes) -> bytes | None:
    """Join the records that hold the first handshake message; return its body, None while it is incomplete."""
    message = b""
    position = 0
    while position < 2 * HELLO_BYTES_MAX:
        header = data[position : position + 5]
        if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
            raise RemoteProtocolError("not a TLS handshake record")
        if len(header) < 5:
            return None
        size = int.from_bytes(header[3:], "big")
        if not 0 < size <= _RECORD_BYTES_MAX:
            raise RemoteProtocolError("a TLS record of a size that is not allowed")
        message += data[position + 5 : position + 5 + size]
        position += 5 + size
        if message[:1] not in (b"", b"\x01"):
            raise RemoteProtocolError("not a ClientHello")
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4], "big")
            if end > HELLO_BYTES_MAX:
                raise RemoteProtocolError(f"a ClientHello of more than {HELLO_BYTES_MAX} bytes")
            if len(message) >= end:
                return message[4:end]
        if position > len(data):
            return None
    raise RemoteProtocolError("a ClientHello in too many records")


def _read_extensions(block: bytes, hello: ClientHello) -> ClientHello:
    reader = _Reader(block)
    seen: list[int] = []
    while reader.left():
        kind = reader.number(2)
        body = _Reader(reader.vector(2))
        if kind in seen:
            raise RemoteProtocolError("an extension that is repeated")
        seen.append(kind)
        if kind == _SERVER_NAME:
            hello = attrs.evolve(hello, server_name=_server_name(body))
        elif kind == _ALPN:
            hello = attrs.evolve(hello, alpn=_names(body))
        elif kind == _SUPPORTED_VERSIONS:
            versions = body.vector(1)
            if len(versions) < 2 or len(versions) % 2 or body.left():
                raise RemoteProtocolError("invalid supported_versions")
            pairs = range(0, len(versions), 2)
            hello = attrs.evolve(hello, versions=tuple(int.from_bytes(versions[n : n + 2], "big") for n in pairs))
    return hello


def _server_name(body: "_Reader") -> str:
    names = _Reader(body.vector(2))
    kind, name = names.number(1), names.vector(2)
    if kind != 0 or names.left() or body.left() or _HOST_NAME.fullmatch(name) is None:
        raise RemoteProtocolError("invalid server name")
    return name.decode("ascii").lower()


def _names(body: "_Reader") -> tuple[bytes, ...]:
    names = _Reader(body.vector(2))
    found = []
    while names.left():
        found.append(names.vector(1))
    if body.left() or not found or b"" in found:
        raise RemoteProtocolError("invalid ALPN list")
    return tuple(found)


class _Reader:
    """Takes fields of known or stated length off the front. Raises: RemoteProtocolError where bytes are missing."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        if size > self.left():
            raise RemoteProtocolError("a ClientHello field that is longer than what holds it")
        self._position += size
        return self._data[self._position - size : self._position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int, *, at_most: int = 65535) -> bytes:
        size = self.number(length_size)
        if size > at_most:
            raise RemoteProtocolError("a ClientHello field that is too long")
        return self.take(size)
