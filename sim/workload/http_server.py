"""HTTP/1.1 for code of the operator's own: whole requests in, answers out, one Trio task a connection, on any Environment.

For actors that speak HTTP, and what ASGI applications are served with. The modelled services do not use it: they run in pumps.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import attrs
import trio

from mesh.model.errors import LocalProtocolError, RemoteProtocolError
from mesh.model.names import Address
from mesh.protocol.http1 import Request, ServerExchange, encode_response
from mesh.protocol.http1.body import chunk
from mesh.runtime.environment import Environment

Headers = Iterable[tuple[bytes, bytes]]

RECEIVE_BYTES = 64 * 1024
ENDINGS = (trio.BrokenResourceError, trio.ClosedResourceError)
_BODILESS = (204, 304)


@attrs.frozen(kw_only=True)
class Reply:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Meter(Protocol):
    """Hears what arrives."""

    def connected(self) -> None: ...
    def arrived(self, operation: str) -> None: ...


class Exchange:
    """One request, and the answer to it: sent whole, or begun and then written piece by piece."""

    def __init__(self, request: Request, stream: trio.abc.HalfCloseableStream, parser: ServerExchange) -> None:
        self.request = request
        self.begun = False
        self.ended = False
        self.keep_alive = request.head.keep_alive
        self.early: list[Request] = []  # pipelined ones, found while somebody waited for the client to leave
        self._stream = stream
        self._parser = parser
        self._chunked = False
        self._silent = request.head.method == b"HEAD"

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        self.begun = self.ended = True
        method = self.request.head.method
        body = None if reply.status in _BODILESS else reply.body
        data = encode_response(reply.status, reply.headers, body, keep_alive=self.keep_alive, method=method)
        await self._stream.send_all(data)

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer. What has no length goes out in chunks, or to a client of HTTP/1.0 until the end."""
        self.begun = True
        fields = [(name, value) for name, value in headers if name.lower() not in (b"transfer-encoding", b"connection")]
        framed = status in _BODILESS or any(name.lower() == b"content-length" for name, _ in fields)
        if not framed:
            self._chunked = self.request.head.version == 11
            self.keep_alive = self.keep_alive and self._chunked
            fields += [(b"transfer-encoding", b"chunked")] if self._chunked else []
        await self._stream.send_all(encode_response(status, fields, None, keep_alive=self.keep_alive))

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if data and not self._silent:
            await self._stream.send_all(chunk(data) if self._chunked else data)

    async def end(self) -> None:
        """The body is complete."""
        self.ended = True
        if self._chunked and not self._silent:
            await self._stream.send_all(b"0\r\n\r\n")

    async def wait_client_left(self) -> None:
        """Return when the client has closed or broken the connection."""
        try:
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                self.early += self._parser.receive_data(bytes(data))
        except (*ENDINGS, RemoteProtocolError):
            pass
        self.keep_alive = False


Handler = Callable[[Exchange], Awaitable[None]]


async def serve_http(env: Environment, address: Address, handle: Handler, meter: Meter) -> None:
    """Serve until cancelled. A handler that raises has its request answered with 500. Raises: ConfigError (the address)."""
    listener = await env.network.listen(address)
    try:
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                nursery.start_soon(_serve, env, stream, handle, meter, name="http connection")
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


async def _serve(env: Environment, stream: trio.abc.HalfCloseableStream, handle: Handler, meter: Meter) -> None:
    parser, waiting, silent = ServerExchange(), list[Request](), True
    try:
        while True:
            while not waiting:
                data = await stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return
                if silent:
                    silent = False
                    meter.connected()
                waiting += parser.receive_data(bytes(data))
                if parser.continue_expected and not waiting:
                    await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            exchange = Exchange(waiting.pop(0), stream, parser)
            head = exchange.request.head
            meter.arrived(f"{head.method.decode('latin-1')} {head.path.decode('latin-1')}")
            await _handle(env, exchange, handle)
            waiting += exchange.early
            if not (exchange.keep_alive and exchange.ended):
                return
    except ENDINGS:
        pass  # The client's: it went away.
    except RemoteProtocolError as error:
        env.log.debug("http_connection.refused", reason=str(error))
    finally:
        await trio.aclose_forcefully(stream)


async def _handle(env: Environment, exchange: Exchange, handle: Handler) -> None:
    try:
        await handle(exchange)
    except (*ENDINGS, RemoteProtocolError, LocalProtocolError):
        raise
    except Exception as error:  # The operator's code: its other requests go on.
        env.log.warning("application.raised", error=repr(error))
        if not exchange.begun:
            await exchange.reply(Reply(status=500, body=b"Internal Server Error"))
