"""HTTP/2 of a client that makes one call after the other on a connection: bytes in, bytes out, no connection here.

For health checks, which are rare and small: frames and streams are the library h2's. Strict and bounded: what the peer
sends beyond the limits is an error, never kept. Source: RFC 9113.
"""

from collections.abc import Iterable

import attrs
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from mesh.model.errors import BrokenConnection, RemoteProtocolError

BODY_BYTES_MAX = 65_536
CALL_BYTES_MAX = 262_144  # of frames, whatever is in them
_FRAME_HEADER_BYTES = 9
_SETTINGS_FRAME = b"\x04"
_SETTINGS = {
    h2.settings.SettingCodes.ENABLE_PUSH: 0,
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: BODY_BYTES_MAX,
}

Headers = tuple[tuple[bytes, bytes], ...]


class GoneAway(BrokenConnection):
    """The peer's: it takes no more calls on this connection. The call may be made on another one."""


@attrs.frozen(kw_only=True)
class Http2Response:
    """One whole response. `trailers` is None where the headers ended it."""

    status: int
    headers: Headers
    body: bytes = b""
    trailers: Headers | None = None

    def header(self, name_lower: bytes) -> bytes | None:
        return _find(self.headers, name_lower)

    def trailer(self, name_lower: bytes) -> bytes | None:
        return None if self.trailers is None else _find(self.trailers, name_lower)


class Http2Caller:
    """The state of one connection. Whatever `call` or `receive` did, send what `outgoing` returns."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._http2 = h2.connection.H2Connection(config=config)
        self._http2.local_settings = h2.settings.Settings(client=True, initial_values=_SETTINGS)
        self._http2.initiate_connection()
        self._beginning = b""  # of what the peer sent
        self._received = 0  # bytes since the present call began
        self._stream = 0  # of the call under way
        self._status = 0
        self._headers: Headers = ()
        self._trailers: Headers | None = None
        self._body = b""

    def call(self, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Begin a call; the one before has ended. `headers` with its pseudo-headers. Raises: GoneAway."""
        try:
            self._stream = self._http2.get_next_available_stream_id()
            self._http2.send_headers(self._stream, list(headers), end_stream=not body)
            if body:
                self._http2.send_data(self._stream, body, end_stream=True)
        except h2.exceptions.ProtocolError as error:  # It said that it goes, or has no room for one stream.
            raise GoneAway("remote refused the stream") from error
        self._received, self._status, self._headers, self._trailers, self._body = 0, 0, (), None, b""

    def outgoing(self) -> bytes:
        """Return the bytes to send now."""
        return self._http2.data_to_send()

    def receive(self, data: bytes) -> Http2Response | None:
        """Take bytes; return the response once it is whole. Raises: GoneAway, BrokenConnection, RemoteProtocolError."""
        self._check(data)
        try:
            events = self._http2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise RemoteProtocolError(f"invalid HTTP/2: {error}", status=502) from error
        done = False
        for event in events:
            done = self._take(event) or done
        if not done:
            return None
        return Http2Response(status=self._status, headers=self._headers, body=self._body, trailers=self._trailers)

    def _check(self, data: bytes) -> None:
        """Refuse what the library would wait for in vain: a peer that speaks another protocol, or that never ends."""
        self._received += len(data)
        if self._received > CALL_BYTES_MAX:
            raise RemoteProtocolError("too many bytes", status=502)
        if len(self._beginning) < _FRAME_HEADER_BYTES:
            self._beginning += data[: _FRAME_HEADER_BYTES - len(self._beginning)]
            if self._beginning[3:4] not in (b"", _SETTINGS_FRAME):
                raise RemoteProtocolError("invalid HTTP/2: it begins without settings", status=502)

    def _take(self, event: h2.events.Event) -> bool:
        """Act on one event. True: the response is whole."""
        if isinstance(event, h2.events.ConnectionTerminated):
            # The library reads nothing more from this connection; to the peer a new one is as good.
            if event.error_code == h2.errors.ErrorCodes.NO_ERROR:
                raise GoneAway("the server is going away")
            raise BrokenConnection(f"the server ended the connection with error {event.error_code}")
        if getattr(event, "stream_id", self._stream) != self._stream:
            return False
        if isinstance(event, h2.events.StreamReset):
            raise BrokenConnection("remote reset")
        if isinstance(event, h2.events.ResponseReceived):
            self._headers = _fields(event.headers)
            self._status = _status(self._headers)
        elif isinstance(event, h2.events.TrailersReceived):
            self._trailers = _fields(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._take_body(event)
        return isinstance(event, h2.events.StreamEnded)

    def _take_body(self, event: h2.events.DataReceived) -> None:
        self._body += event.data or b""
        if len(self._body) > BODY_BYTES_MAX:
            raise RemoteProtocolError("the body is too large", status=502)
        if event.flow_controlled_length:
            self._http2.acknowledge_received_data(event.flow_controlled_length, self._stream)


def _status(headers: Headers) -> int:
    """Return a response's status, which the library takes whatever it is. Raises: RemoteProtocolError."""
    status = _find(headers, b":status") or b""
    if len(status) != 3 or not status.isdigit():
        raise RemoteProtocolError("invalid HTTP/2: a status that is no number", status=502)
    return int(status)


def _fields(headers: Iterable[tuple[object, object]] | None) -> Headers:
    return tuple((_bytes(name), _bytes(value)) for name, value in headers or ())


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def _find(fields: Headers, name_lower: bytes) -> bytes | None:
    return next((value for name, value in fields if name == name_lower), None)
