"""Reading PostgreSQL messages from any split of the bytes: each side's reader, its framing and its parsing."""

from mesh.model.errors import RemoteProtocolError
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
    First,
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

STARTUP_BYTES_MAX = 10_000  # The server's own MAX_STARTUP_PACKET_LENGTH.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class _Frames:
    """Cuts bytes into messages: an optional type byte, a length that counts itself, a body."""

    __slots__ = ("_arrived", "_arrived_bytes", "_wanted_bytes")

    def __init__(self) -> None:
        self._arrived: list[bytes] = []
        self._arrived_bytes = 0
        self._wanted_bytes = 0

    def add(self, data: bytes) -> None:
        self._arrived.append(data)
        self._arrived_bytes += len(data)

    def take(self, *, typed: bool) -> tuple[bytes, bytes] | None:
        """Return type (empty if untyped) and body of the next message, None while it is incomplete."""
        if self._arrived_bytes < self._wanted_bytes:
            return None
        if len(self._arrived) > 1:
            self._arrived = [b"".join(self._arrived)]
        buffer = self._arrived[0] if self._arrived else b""
        start = 1 if typed else 0
        if len(buffer) < start + 4:
            return None
        size = int.from_bytes(buffer[start : start + 4], "big")
        if not 4 <= size <= (MESSAGE_BYTES_MAX if typed else STARTUP_BYTES_MAX):
            raise RemoteProtocolError("a PostgreSQL message of a size that is not allowed")
        end = start + size
        if len(buffer) < end:
            self._wanted_bytes = end
            return None
        self._wanted_bytes = 0
        self._arrived = [buffer[end:]]
        self._arrived_bytes = len(buffer) - end
        return buffer[:start], buffer[start + 4 : end]


class ClientMessageReader:
    """The server's side. Until Startup or CancelRequest the messages have no type byte."""

    def __init__(self) -> None:
        self._frames = _Frames()
        self._started = False

    def receive_data(self, data: bytes) -> list[FromClient]:
        """Take bytes, return the messages that are now complete. Raises: RemoteProtocolError."""
        self._frames.add(data)
        messages: list[FromClient] = []
        while (frame := self._frames.take(typed=self._started)) is not None:
            kind, body = frame
            message: FromClient
            if not self._started:
                message = _parse_first(body)
                self._started = isinstance(message, Startup)
            elif kind == b"Q":
                message = Query(_only_string(body))
            elif kind == b"X":
                message = Terminate()
            else:
                message = Other(kind, body)
            messages.append(message)
        return messages


class ServerMessageReader:
    """The client's side. The one-byte answer to SslRequest is not a message: read it before."""

    def __init__(self) -> None:
        self._frames = _Frames()

    def receive_data(self, data: bytes) -> list[FromServer]:
        """Take bytes, return the messages that are now complete. Raises: RemoteProtocolError."""
        self._frames.add(data)
        messages: list[FromServer] = []
        while (frame := self._frames.take(typed=True)) is not None:
            messages.append(_parse_from_server(*frame))
        return messages


def _parse_first(body: bytes) -> First:
    code = int.from_bytes(body[:4], "big")
    if len(body) < 4:
        raise RemoteProtocolError("a start-up message without a version")
    if code == VERSION_3:
        texts = _strings(body[4:])
        if len(texts) % 2 or "" in texts[::2]:
            raise RemoteProtocolError("a start-up message with a name but no value")
        return Startup(parameters=tuple(zip(texts[::2], texts[1::2], strict=True)))
    if code == CANCEL_REQUEST and len(body) >= 12:
        return CancelRequest(process_id=int.from_bytes(body[4:8], "big"), secret=body[8:])
    if len(body) == 4 and code == SSL_REQUEST:
        return SslRequest()
    if len(body) == 4 and code == GSS_REQUEST:
        return GssRequest()
    raise RemoteProtocolError("not PostgreSQL 3.0")


def _parse_from_server(kind: bytes, body: bytes) -> FromServer:
    match kind:
        case b"R" if body == bytes(4):
            return AuthenticationOk()
        case b"S":
            texts = _strings(body + b"\0")
            if len(texts) != 2:
                raise RemoteProtocolError("a parameter status is a name and a value")
            return ParameterStatus(*texts)
        case b"Z":
            if body not in (b"I", b"T", b"E"):
                raise RemoteProtocolError("not a transaction status")
            return ReadyForQuery(body.decode("ascii"))
        case b"T":
            return RowDescription(_columns(body))
        case b"D":
            return DataRow(_row(body))
        case b"C":
            return CommandComplete(_only_string(body))
        case b"I" if not body:
            return EmptyQueryResponse()
        case b"E":
            texts = _strings(body)
            if "" in texts:
                raise RemoteProtocolError("an error field without its letter")
            return ErrorResponse(tuple((text[0], text[1:]) for text in texts))
        case _:
            return Other(kind, body)


def _text(data: bytes) -> str:
    # The client chooses the encoding; what is not UTF-8 survives a round trip.
    return data.decode("utf-8", "surrogateescape")


def _only_string(body: bytes) -> str:
    if body.find(b"\0") != len(body) - 1 or not body:
        raise RemoteProtocolError("not one string with its NUL")
    return _text(body[:-1])


def _strings(body: bytes) -> list[str]:
    """Read strings up to the empty one that ends them, which has to be the body's last byte."""
    if not body.endswith(b"\0") or (len(body) > 1 and not body.endswith(b"\0\0")):
        raise RemoteProtocolError("a list of strings that does not end")
    return _text(body[:-2]).split("\0") if len(body) > 1 else []


def _columns(body: bytes) -> tuple[str, ...]:
    count, position = int.from_bytes(body[:2], "big"), 2
    names = []
    for _ in range(count):
        end = body.find(b"\0", position)
        if end < 0 or end + 19 > len(body):
            raise RemoteProtocolError("a row description that ends early")
        names.append(_text(body[position:end]))
        position = end + 19
    if position != len(body):
        raise RemoteProtocolError("a row description with bytes to spare")
    return tuple(names)


def _row(body: bytes) -> tuple[bytes | None, ...]:
    count, position = int.from_bytes(body[:2], "big"), 2
    values: list[bytes | None] = []
    for _ in range(count):
        size = int.from_bytes(body[position : position + 4], "big", signed=True)
        position += 4
        if size < -1 or position + max(size, 0) > len(body):
            raise RemoteProtocolError("a data row that ends early")
        values.append(None if size < 0 else body[position : position + size])
        position += max(size, 0)
    if position != len(body):
        raise RemoteProtocolError("a data row with bytes to spare")
    return tuple(values)
