"""The flights of a modelled TLS 1.2 handshake: one round trip more than in 1.3, certificates in the clear, no ticket behind it.

As in `tls_wire` messages and sizes are real, signatures, keys and Finished are zeros of the right length.
Source: RFC 5246 section 7.3, RFC 8422 section 5 (ECDHE), RFC 5077 (session tickets).
"""

from collections.abc import Iterable
from struct import pack

from sim import tls_wire as wire

SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE, CLIENT_KEY_EXCHANGE = 12, 14, 16
_X25519_KEY = bytes(32)
_CURVE = b"\x03\x00\x1d"  # named_curve x25519
_FINISHED = bytes(12 + 24)  # verify_data, and what AES-GCM adds: nonce and tag
_SIGNATURE_SCHEME = b"\x08\x07"


def certificates(chain_der: Iterable[bytes]) -> bytes:
    """Return the record of a certificate chain; an empty chain says that there is none."""
    entries = b"".join(len(der).to_bytes(3) + der for der in chain_der)
    return wire.records(wire.message(wire.CERTIFICATE, len(entries).to_bytes(3) + entries))


def read_certificates(body: bytes) -> list[bytes]:
    """Return the chain in a Certificate message."""
    chain, position = [], 3
    while position < len(body):
        size = int.from_bytes(body[position : position + 3])
        chain.append(body[position + 3 : position + 3 + size])
        position += 3 + size
    return chain


def server_flight(hello: bytes, certificate_records: bytes, signature_bytes: int, *, asks: bool) -> bytes:
    """Return what a server says to a ClientHello; `asks` for a certificate."""
    signature = _SIGNATURE_SCHEME + pack(">H", signature_bytes) + bytes(signature_bytes)
    key = wire.message(SERVER_KEY_EXCHANGE, _CURVE + bytes((len(_X25519_KEY),)) + _X25519_KEY + signature)
    request = (
        wire.message(wire.CERTIFICATE_REQUEST, b"\x01\x40" + wire.signature_schemes() + b"\x00\x00") if asks else b""
    )
    return hello + certificate_records + wire.records(key + request + wire.message(SERVER_HELLO_DONE, b""))


def client_flight(certificate_records: bytes, signature_bytes: int) -> bytes:
    """Return a client's answer: its chain where it was asked for one, its key, the proof of its certificate's, the end."""
    key = wire.message(CLIENT_KEY_EXCHANGE, bytes((len(_X25519_KEY),)) + _X25519_KEY)
    proof = b""
    if certificate_records and signature_bytes:
        body = _SIGNATURE_SCHEME + pack(">H", signature_bytes) + bytes(signature_bytes)
        proof = wire.message(wire.CERTIFICATE_VERIFY, body)
    return certificate_records + wire.records(key + proof) + _end()


def server_end() -> bytes:
    """Return a server's last flight, with a session ticket that is never used: nothing is resumed here."""
    ticket = pack(">L", 7200) + pack(">H", len(wire.TICKET)) + wire.TICKET
    return wire.records(wire.message(wire.NEW_SESSION_TICKET, ticket)) + _end()


def _end() -> bytes:
    return wire.CHANGE_CIPHER_SPEC + wire.records(wire.message(wire.FINISHED, _FINISHED))
