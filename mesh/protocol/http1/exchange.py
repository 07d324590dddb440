"""Exchanges for endpoints: whole messages in memory, one after another. For services, load generators and probes.

A proxy does not use these: it streams. Source of the shape: h11 (bytes in, events out), reduced to whole messages.
"""

import attrs

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1.body import BodyReader
from mesh.protocol.http1.head import RequestHead, ResponseHead
from mesh.protocol.http1.parsing import RequestParser, ResponseParser

BODY_BYTES_MAX = 16 * 1024 * 1024


@attrs.frozen
class Request:
    """A request with its payload."""

    head: RequestHead
    body: bytes


@attrs.frozen
class Response:
    """A final response with its payload."""

    head: ResponseHead
    body: bytes


class _Body:
    """Collects the payload of one message, up to a limit."""

    __slots__ = ("_bytes_max", "_parts", "_reader", "_size", "_status")

    def __init__(self, head: RequestHead | ResponseHead, bytes_max: int, status: int) -> None:
        self._reader = BodyReader(head.body, head.body_length)
        self._parts: list[bytes] = []
        self._size = 0
        self._bytes_max = bytes_max
        self._status = status

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """Return whether the body is complete, and the bytes after it."""
        payload, done, rest = self._reader.decode(data)
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > self._bytes_max:
            raise RemoteProtocolError(f"a body of more than {self._bytes_max} bytes", status=self._status)
        return done, rest

    def receive_eof(self) -> None:
        self._reader.receive_eof()

    def payload(self) -> bytes:
        return b"".join(self._parts)


class ServerExchange:
    """The server's side of one connection: bytes in, whole requests out. Pipelined ones come out together."""

    def __init__(self, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._parser = RequestParser()
        self._body_bytes_max = body_bytes_max
        self._buffer = b""
        self._reading: tuple[RequestHead, _Body] | None = None
        self.continue_expected = False  # A head came that waits for `100 Continue` before its body.

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes, return the requests that are now complete. Raises: RemoteProtocolError."""
        buffer = self._buffer + data if self._buffer else data
        requests = []
        while buffer:
            if self._reading is None:
                found = self._parser.parse(buffer)
                if found is None:
                    break
                head, size = found
                buffer = buffer[size:]
                self._reading = (head, _Body(head, self._body_bytes_max, 413))
                self.continue_expected = head.expect_continue and not buffer
            head, body = self._reading
            done, buffer = body.feed(buffer)
            if done:
                requests.append(Request(head, body.payload()))
                self._reading = None
                self.continue_expected = False
        self._buffer = buffer
        return requests


class ClientExchange:
    """The client's side of one connection: one request at a time. Call `expect` when the request goes out."""

    def __init__(self, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._parser = ResponseParser()
        self._body_bytes_max = body_bytes_max
        self._method = b"GET"
        self._buffer = b""
        self._reading: tuple[ResponseHead, _Body] | None = None

    def expect(self, method: bytes) -> None:
        """Prepare for the response to a request of `method`. Raises: RemoteProtocolError when one came without a request."""
        assert self._reading is None, "the previous response is not complete"
        if self._buffer:
            raise RemoteProtocolError("bytes that no request asked for", status=502)
        self._method = method

    def receive_data(self, data: bytes) -> Response | None:
        """Take bytes, return the final response once it is complete; interim ones are skipped. Raises: RemoteProtocolError."""
        buffer = self._buffer + data if self._buffer else data
        while self._reading is None:
            found = self._parser.parse(buffer, self._method) if buffer else None
            if found is None:
                self._buffer = buffer
                return None
            head, size = found
            buffer = buffer[size:]
            if not head.interim:
                self._reading = (head, _Body(head, self._body_bytes_max, 502))
        head, body = self._reading
        done, self._buffer = body.feed(buffer)
        return self._finish(head, body) if done else None

    def receive_eof(self) -> Response:
        """Take the end of the stream, which ends some bodies. Raises: RemoteProtocolError when no response is complete by it."""
        if self._reading is None:
            raise RemoteProtocolError("the stream ended before a response", status=502)
        head, body = self._reading
        body.receive_eof()
        return self._finish(head, body)

    def _finish(self, head: ResponseHead, body: _Body) -> Response:
        self._reading = None
        return Response(head, body.payload())
