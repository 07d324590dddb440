"""The bytes of a modelled TLS handshake, of 1.3 where nothing else is said: real messages in real records.

Their sizes are real too, but nothing is encrypted or signed. The ClientHello is a genuine one, which protocol detection
and SNI routing can read. Encrypted records carry their content in the clear, with zeros where the authentication tag
stands; signatures and Finished are zeros of the right length.
Source: RFC 8446 sections 4 and 5; the extensions are those that OpenSSL 3.0 sends.
"""

from collections.abc import Generator, Iterable, Sequence
from ipaddress import ip_address
from struct import error as StructError
from struct import pack, unpack_from

import attrs

from mesh.identity.certificate_path import Fault
from mesh.identity.handshake import RefusedByPeer
from mesh.identity.tls_session import NO_COMMON_VERSION
from mesh.model.errors import BrokenConnection
from mesh.model.randomness import Random
from mesh.model.security import TlsVersion

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS = 1, 2, 4, 8
CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, FINISHED = 11, 13, 15, 20
HEADER_BYTES = 5
RECORD_BYTES_MAX = 16384
TAG = bytes(16)
CHANGE_CIPHER_SPEC = bytes((20, 3, 3, 0, 1, 1))  # Sent for middleboxes. Source: RFC 8446 appendix D.4.

PROTOCOL_VERSION = 70  # the alert. Source: RFC 8446 section 6.2

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
VERSION_NUMBER = {TlsVersion.TLS12: 0x0303, TlsVersion.TLS13: 0x0304}  # those that are spoken here, ascending
_VERSION_BY_NUMBER = {number: version for version, number in VERSION_NUMBER.items()}
# AES-GCM and ChaCha20 with ECDHE, as OpenSSL orders them.
_CIPHERS_TLS12 = (0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC02B, 0xC02F)
_CIPHERS_TLS13 = (0x1302, 0x1303, 0x1301)
_RENEGOTIATION_INFO = 0x00FF
_FINISHED = bytes(48)  # SHA-384, as the cipher suite wants
TICKET = bytes(200)
_SIGNATURE_SCHEMES = (
    0x0403,
    0x0503,
    0x0603,
    0x0807,
    0x0808,
    0x0809,
    0x080A,
    0x080B,
    0x0804,
    0x0805,
    0x0806,
    0x0401,
    0x0501,
    0x0601,
)
_ALERT_BY_CODE = {
    10: "unexpected message",
    40: "handshake failure",
    42: "bad certificate",
    45: "certificate expired",
    46: "certificate unknown",
    48: "unknown ca",
    49: "access denied",
    50: "decode error",
    PROTOCOL_VERSION: NO_COMMON_VERSION,
    116: "certificate required",
}
_CERTIFICATE_FAULTS = frozenset(fault.value for fault in Fault)


@attrs.frozen(kw_only=True)
class ClientHello:
    """What a server learns from the first message."""

    server_name: str
    alpn: tuple[str, ...]
    versions: tuple[TlsVersion, ...] = (TlsVersion.TLS13,)


def broken(what: str) -> BrokenConnection:
    """Say what is wrong with the peer's bytes."""
    return BrokenConnection(f"TLS error: {what}")


def record(content_type: int, content: bytes) -> bytes:
    """Return one record without protection."""
    return pack(">BHH", content_type, 0x0303, len(content)) + content


def records(messages: bytes) -> bytes:
    """Return the records of handshake messages without protection."""
    begins = range(0, len(messages), RECORD_BYTES_MAX)
    return b"".join(record(HANDSHAKE, messages[begin : begin + RECORD_BYTES_MAX]) for begin in begins)


def protected(content_type: int, content: bytes) -> bytes:
    """Return the records that carry `content`, each with its real type behind the content and a tag."""
    parts = [content[begin : begin + RECORD_BYTES_MAX] for begin in range(0, len(content), RECORD_BYTES_MAX)]
    return b"".join(record(APPLICATION_DATA, part + bytes((content_type,)) + TAG) for part in parts)


def alert(fault: Fault) -> bytes:
    """Return a fatal alert in a protected record."""
    return protected(ALERT, bytes((2, fault.value)))


def version_alert() -> bytes:
    """Return the fatal alert of a side that speaks none of the peer's versions, without protection."""
    return record(ALERT, bytes((2, PROTOCOL_VERSION)))


def message(kind: int, body: bytes) -> bytes:
    """Return one handshake message."""
    return bytes((kind,)) + len(body).to_bytes(3) + body


def client_hello(
    server_name: str, alpn: Sequence[str], random: Random, versions: Sequence[TlsVersion] = (TlsVersion.TLS13,)
) -> bytes:
    """Return the first record of a client that speaks `versions`, ascending."""
    numbers = [VERSION_NUMBER[version] for version in reversed(versions)]
    newest = versions[-1] is TlsVersion.TLS13
    extensions = []
    if server_name and not _is_address(server_name):
        name = server_name.encode("idna")
        extensions.append(_extension(_SERVER_NAME, _vector(2, b"\x00" + _vector(2, name))))
    extensions += [
        _extension(11, b"\x03\x00\x01\x02"),  # ec_point_formats
        _extension(
            10, _vector(2, pack(">10H", 29, 23, 30, 25, 24, 256, 257, 258, 259, 260))
        ),  # supported_groups, X25519 first
        _extension(35, b""),  # session_ticket
    ]
    if alpn:
        extensions.append(_extension(_ALPN, _vector(2, b"".join(_vector(1, name.encode()) for name in alpn))))
    extensions += [
        _extension(22, b""),  # encrypt_then_mac
        _extension(23, b""),  # extended_master_secret
        _extension(13, signature_schemes()),
    ]
    if newest:
        extensions += [
            _extension(_SUPPORTED_VERSIONS, _vector(1, pack(f">{len(numbers)}H", *numbers))),
            _extension(45, b"\x01\x01"),  # psk_key_exchange_modes
            _extension(51, _vector(2, pack(">H", 29) + _vector(2, random.randbytes(32)))),  # key_share
        ]
    ciphers = (*(_CIPHERS_TLS13 if newest else ()), *(_CIPHERS_TLS12 if TlsVersion.TLS12 in versions else ()))
    ciphers = (*ciphers, _RENEGOTIATION_INFO)
    body = b"\x03\x03" + random.randbytes(32) + _vector(1, random.randbytes(32))
    body += _vector(2, pack(f">{len(ciphers)}H", *ciphers)) + b"\x01\x00" + _vector(2, b"".join(extensions))
    hello = message(CLIENT_HELLO, body)
    return pack(">BHH", HANDSHAKE, 0x0301, len(hello)) + hello


def read_client_hello(body: bytes) -> ClientHello:
    """Read the body of a ClientHello. Raises: BrokenConnection."""
    try:
        position = 2 + 32
        position += 1 + body[position]
        position += 2 + unpack_from(">H", body, position)[0]
        position += 1 + body[position]
        end = position + 2 + unpack_from(">H", body, position)[0]
        position += 2
        server_name, alpn = "", []
        numbers = unpack_from(">H", body)
        while position < end:
            kind, size = unpack_from(">HH", body, position)
            data = body[position + 4 : position + 4 + size]
            position += 4 + size
            if kind == _SERVER_NAME:
                server_name = data[5:].decode("ascii")
            elif kind == _ALPN:
                alpn = [part.decode("ascii") for part in _split(data[2:])]
            elif kind == _SUPPORTED_VERSIONS:
                numbers = unpack_from(f">{data[0] // 2}H", data, 1)
    except (IndexError, ValueError, StructError) as error:
        raise broken("the ClientHello cannot be read") from error
    versions = tuple(_VERSION_BY_NUMBER[number] for number in sorted(numbers) if number in _VERSION_BY_NUMBER)
    return ClientHello(server_name=server_name, alpn=tuple(alpn), versions=versions)


def server_hello(random: Random) -> bytes:
    """Return the record with which a server agrees to TLS 1.3."""
    extensions = _extension(_SUPPORTED_VERSIONS, b"\x03\x04")
    extensions += _extension(51, pack(">H", 29) + _vector(2, random.randbytes(32)))
    body = b"\x03\x03" + random.randbytes(32) + _vector(1, random.randbytes(32))
    return record(HANDSHAKE, message(SERVER_HELLO, body + b"\x13\x02\x00" + _vector(2, extensions)))


def server_hello_tls12(random: Random, alpn: str | None) -> bytes:
    """Return the record with which a server agrees to TLS 1.2."""
    extensions = b"" if alpn is None else _extension(_ALPN, _vector(2, _vector(1, alpn.encode())))
    extensions += _extension(23, b"") + _extension(0xFF01, b"\x00")  # extended_master_secret, renegotiation_info
    body = b"\x03\x03" + random.randbytes(32) + _vector(1, random.randbytes(32)) + b"\xc0\x2c\x00"
    return record(HANDSHAKE, message(SERVER_HELLO, body + _vector(2, extensions)))


def read_server_hello(body: bytes) -> tuple[TlsVersion, str | None]:
    """Return the version that the server chose, and the protocol where it says that here, in TLS 1.2."""
    position = 2 + 32
    position += 1 + body[position] + 3
    end, position = position + 2 + int.from_bytes(body[position : position + 2]), position + 2
    version, alpn = TlsVersion.TLS12, None
    while position < end:
        kind, size = unpack_from(">HH", body, position)
        if kind == _SUPPORTED_VERSIONS:
            version = TlsVersion.TLS13
        elif kind == _ALPN:
            alpn = body[position + 7 : position + 4 + size].decode("ascii")
        position += 4 + size
    return version, alpn


def encrypted_extensions(alpn: str | None) -> bytes:
    """Return the record in which a server says which protocol it chose."""
    chosen = b"" if alpn is None else _extension(_ALPN, _vector(2, _vector(1, alpn.encode())))
    return protected(HANDSHAKE, message(ENCRYPTED_EXTENSIONS, _vector(2, chosen)))


def read_encrypted_extensions(body: bytes) -> str | None:
    """Return the protocol that the server chose."""
    return body[9:].decode("ascii") if len(body) > 9 else None


def certificate_request() -> bytes:
    """Return the record in which a server asks for a certificate."""
    return protected(HANDSHAKE, message(CERTIFICATE_REQUEST, b"\x00" + _vector(2, _extension(13, signature_schemes()))))


def certificates(chain_der: Iterable[bytes]) -> bytes:
    """Return the records of a certificate chain; an empty chain says that there is none."""
    entries = b"".join(len(der).to_bytes(3) + der + b"\x00\x00" for der in chain_der)
    return protected(HANDSHAKE, message(CERTIFICATE, b"\x00" + len(entries).to_bytes(3) + entries))


def read_certificates(body: bytes) -> list[bytes]:
    """Return the chain in a Certificate message."""
    chain, position = [], 4
    while position < len(body):
        size = int.from_bytes(body[position : position + 3])
        chain.append(body[position + 3 : position + 3 + size])
        position += 3 + size + 2
    return chain


def proof(signature_bytes: int) -> bytes:
    """Return the records that prove a key and end a flight; without a key (0 bytes) the end alone."""
    verify = protected(HANDSHAKE, message(CERTIFICATE_VERIFY, pack(">H", 0x0807) + _vector(2, bytes(signature_bytes))))
    return (verify if signature_bytes else b"") + protected(HANDSHAKE, message(FINISHED, _FINISHED))


def session_ticket() -> bytes:
    """Return the record that a server sends behind the handshake. It is never used: nothing is resumed here."""
    body = pack(">LL", 7200, 0) + _vector(1, bytes(8)) + _vector(2, TICKET) + b"\x00\x00"
    return protected(HANDSHAKE, message(NEW_SESSION_TICKET, body))


def cut_record(incoming: bytearray) -> tuple[int, bytes] | None:
    """Take one whole record off the front: its real type and content. None: more bytes are needed. Raises: BrokenConnection."""
    if incoming and (not 20 <= incoming[0] <= 23 or (len(incoming) > 1 and incoming[1] != 3)):
        raise broken("wrong version number")
    if len(incoming) < HEADER_BYTES:
        return None
    end = HEADER_BYTES + int.from_bytes(incoming[3:5])
    if len(incoming) < end:
        return None
    content_type, content = incoming[0], bytes(incoming[HEADER_BYTES:end])
    del incoming[:end]
    if content_type == APPLICATION_DATA:
        if len(content) <= len(TAG):
            raise broken("decryption failed or bad record mac")
        return content[-len(TAG) - 1], content[: -len(TAG) - 1]
    return content_type, content


def alert_error(content: bytes) -> BrokenConnection:
    """Return what the peer's alert means to us."""
    code = content[1] if len(content) == 2 else 50
    text = _ALERT_BY_CODE.get(code, f"alert {code}")
    return RefusedByPeer(text) if code in _CERTIFICATE_FAULTS else broken(text)


class MessageExchange:
    """Both directions of one handshake: messages to send gather until the next one is waited for."""

    def __init__(self) -> None:
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self._messages = bytearray()  # handshake messages from several records, not yet taken

    def next_message(self, kind: int) -> Generator[bytes, bytes, bytes]:
        """Return the body of the next message, which must be of this kind. Raises: BrokenConnection, RefusedByPeer."""
        yield from self.next_kind()
        messages = self._messages
        end = 4 + int.from_bytes(messages[1:4])
        actual, body = messages[0], bytes(messages[4:end])
        del messages[:end]
        if actual != kind:
            raise broken("unexpected message")
        return body

    def next_kind(self) -> Generator[bytes, bytes, int]:
        """Wait for a whole message and return of which kind it is."""
        messages = self._messages
        while len(messages) < 4 or len(messages) < 4 + int.from_bytes(messages[1:4]):
            yield from self._next_record()
        return messages[0]

    def take_outgoing(self) -> bytes:
        """Return what is to be sent now."""
        outgoing = bytes(self.outgoing)
        self.outgoing.clear()
        return outgoing

    def _next_record(self) -> Generator[bytes, bytes, None]:
        while (found := cut_record(self.incoming)) is None:
            received = yield self.take_outgoing()
            if not received:
                raise broken("the peer closed during the handshake")
            self.incoming += received
        content_type, content = found
        if content_type == HANDSHAKE:
            self._messages += content
        elif content_type == ALERT:
            raise alert_error(content)
        elif content_type == APPLICATION_DATA:
            raise broken("unexpected message")


def _extension(kind: int, data: bytes) -> bytes:
    return pack(">HH", kind, len(data)) + data


def _vector(size_bytes: int, data: bytes) -> bytes:
    return len(data).to_bytes(size_bytes) + data


def _split(data: bytes) -> list[bytes]:
    parts, position = [], 0
    while position < len(data):
        size = data[position]
        parts.append(data[position + 1 : position + 1 + size])
        position += 1 + size
    return parts


def signature_schemes() -> bytes:
    """Return the list of signatures that are understood."""
    return _vector(2, pack(f">{len(_SIGNATURE_SCHEMES)}H", *_SIGNATURE_SCHEMES))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
