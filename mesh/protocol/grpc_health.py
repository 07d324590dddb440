"""gRPC's health service, version 1, from the caller's side: the request, and what a response says. Protobuf by hand.

Two messages with one field each need no code generator. Strict: a malformed, compressed, second or overlong message is an
answer that says nothing good. Source: grpc/grpc `doc/health-checking.md`, `grpc/health/v1/health.proto`,
`doc/PROTOCOL-HTTP2.md`; Envoy source/extensions/health_checkers/grpc/health_checker_impl.cc.
"""

import enum

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http2_call import Http2Response

METHOD_PATH = b"/grpc.health.v1.Health/Check"
CONTENT_TYPE = b"application/grpc"
MESSAGE_BYTES_MAX = 4096  # a known response has two bytes; the rest is room for fields to come
_VARINT_BYTES_MAX = 10


class ServingStatus(enum.IntEnum):
    """What a service says of itself."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def encode_check(service: str) -> bytes:
    """Return a HealthCheckRequest as gRPC sends it, with its prefix."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def complaint_of(response: Http2Response) -> str:
    """Return why a response does not say that the service serves; "": it does."""
    if response.status != 200:
        return f"HTTP status {response.status}"
    content_type = response.header(b"content-type") or b""
    if content_type != CONTENT_TYPE and not content_type.startswith((b"application/grpc+", b"application/grpc;")):
        return "not a gRPC response"
    # Without trailers the headers are them: how a server says that it does not know the method.
    status = response.header(b"grpc-status") if response.trailers is None else response.trailer(b"grpc-status")
    if status is None:
        return "no gRPC status"
    if status != b"0":
        return f"gRPC status {status.decode('ascii', 'replace')[:16]}"
    try:
        serving = decode_status(_message(response.body))
    except RemoteProtocolError as error:
        return str(error)
    if serving == ServingStatus.SERVING:
        return ""
    return ServingStatus(serving).name.lower() if serving in list(ServingStatus) else f"serving status {serving}"


def _message(body: bytes) -> bytes:
    """Return the one message of a unary response. Raises: RemoteProtocolError."""
    if len(body) < 5:
        raise RemoteProtocolError("no message")
    if body[0] != 0:
        raise RemoteProtocolError("a compressed message")
    size = int.from_bytes(body[1:5], "big")
    if size > MESSAGE_BYTES_MAX or len(body) != 5 + size:
        raise RemoteProtocolError("not exactly one message")
    return body[5:]


def decode_status(message: bytes) -> int:
    """Return the field `status` of a HealthCheckResponse; other fields are passed over. Raises: RemoteProtocolError."""
    status, position = 0, 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        field, wire_type = tag >> 3, tag & 7
        if field == 0:
            raise RemoteProtocolError("a field without a number")
        if wire_type == 0:
            value, position = _read_varint(message, position)
            if field == 1:
                status = value
        elif field == 1:
            raise RemoteProtocolError("a status that is no number")
        else:
            position = _skip(message, position, wire_type)
    return status


def _skip(message: bytes, position: int, wire_type: int) -> int:
    if wire_type == 2:
        size, position = _read_varint(message, position)
    elif wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
    else:
        raise RemoteProtocolError(f"wire type {wire_type}")
    if position + size > len(message):
        raise RemoteProtocolError("a field that is cut off")
    return position + size


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, position + index + 1
    raise RemoteProtocolError("a number that is cut off or too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
