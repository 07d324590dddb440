"""Writing PostgreSQL messages."""

from mesh.model.errors import LocalProtocolError
from mesh.protocol.postgres.messages import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    SSL_REQUEST,
    VERSION_3,
    AuthenticationOk,
    CancelRequest,
    CommandComplete,
    DataRow,
    EmptyQueryResponse,
    ErrorResponse,
    FromClient,
    FromServer,
    GssRequest,
    Other,
    ParameterStatus,
    Query,
    ReadyForQuery,
    RowDescription,
    SslRequest,
    Startup,
    Terminate,
)


def encode(message: FromClient | FromServer) -> bytes:
    """Write a message. Raises: LocalProtocolError for a NUL within a string."""
    match message:
        case Startup(parameters=parameters):
            pairs = b"".join(_string(name) + _string(value) for name, value in parameters)
            return _sized(VERSION_3.to_bytes(4, "big") + pairs + b"\0")
        case SslRequest():
            return _sized(SSL_REQUEST.to_bytes(4, "big"))
        case GssRequest():
            return _sized(GSS_REQUEST.to_bytes(4, "big"))
        case CancelRequest(process_id=process_id, secret=secret):
            return _sized(CANCEL_REQUEST.to_bytes(4, "big") + process_id.to_bytes(4, "big") + secret)
        case _:
            kind, body = _encode_typed(message)
            return kind + _sized(body)


def _encode_typed(message: FromClient | FromServer) -> tuple[bytes, bytes]:
    match message:
        case Query(sql):
            return b"Q", _string(sql)
        case Terminate():
            return b"X", b""
        case AuthenticationOk():
            return b"R", bytes(4)
        case ParameterStatus(name, value):
            return b"S", _string(name) + _string(value)
        case ReadyForQuery(status):
            return b"Z", status.encode("ascii")
        case RowDescription(columns):
            # No table; type text (25) of variable size (-1), no modifier, text format.
            about = bytes(6) + (25).to_bytes(4, "big") + b"\xff\xff" + b"\xff" * 4 + bytes(2)
            return b"T", len(columns).to_bytes(2, "big") + b"".join(_string(name) + about for name in columns)
        case DataRow(values):
            return b"D", len(values).to_bytes(2, "big") + b"".join(map(_value, values))
        case CommandComplete(tag):
            return b"C", _string(tag)
        case EmptyQueryResponse():
            return b"I", b""
        case ErrorResponse(fields):
            return b"E", b"".join(letter.encode("ascii") + _string(text) for letter, text in fields) + b"\0"
        case Other(kind, body):
            return kind, body
        case _:
            raise LocalProtocolError(f"{message!r} has no type byte")


def _sized(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "big") + body


def _string(text: str) -> bytes:
    if "\0" in text:
        raise LocalProtocolError("a NUL within a string")
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _value(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value
