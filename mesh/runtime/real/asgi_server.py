"""Serving an ASGI application over HTTP/1.1 and HTTPS on real sockets: hypercorn's protocol, our connections.

Hypercorn's own Trio worker is not used: a client that sends a body nobody reads, or reads no answer, would hold its connection
for good (its queues and its shielded sends have no bound), one broken connection would end all, and HTTP/2 cannot be
switched off. So its HTTP/1.1 state machine is driven here, and all that is known of its inside stands in this file.
"""

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import attrs
import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from structlog.typing import FilteringBoundLogger

from mesh.model.names import Address
from mesh.runtime.real.listening import listen_on, local_address

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_RECEIVE_BYTES = 64 * 1024
_ACCEPT_RETRY_S = 0.1  # Where we are out of files.
_INBOX_MESSAGES_MAX = 8


@attrs.frozen(kw_only=True)
class HttpLimits:
    """What a client may take. Spans in seconds; the application bounds a body's size and time."""

    connections_max: int = 512  # of all listeners; one more ends an idle one, or waits where none is
    handshake_s: float = 10.0
    headers_s: float = 10.0  # from the connection, or the answer before, to the end of the next request's headers
    headers_bytes_max: int = 16 * 1024
    send_s: float = 30.0  # for a client to take one piece of an answer
    half_closed_s: float = 30.0  # for an answer to a client that has closed its side
    linger_s: float = 2.0  # for a client to stop sending what nobody wants, so that it reads the answer
    grace_s: float = 5.0  # for answers under way when we stop
    requests_max: int = 1000  # of one connection


@attrs.frozen(kw_only=True)
class Bound:
    """Where we listen."""

    plain: Address | None = None
    tls: Address | None = None


def server_context(certfile: str = "", keyfile: str = "") -> ssl.SSLContext:
    """Make a TLS context: 1.2 or newer, HTTP/1.1. A certificate loaded into it later counts for connections from then on.

    Raises: OSError, ssl.SSLError when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if certfile:
        context.load_cert_chain(certfile, keyfile or None)
    return context


async def serve(
    app: App,
    *,
    plain: Address | None = None,
    tls: tuple[Address, ssl.SSLContext] | None = None,
    log: FilteringBoundLogger,
    shutdown: Callable[[], Awaitable[object]] = trio.sleep_forever,
    limits: HttpLimits = HttpLimits(),
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` returns, then finish what is under way; reports where it listens (port 0: any).

    Raises: ConfigError naming an address that cannot be had.
    """
    server = _Server(app, log, limits)
    plain_listener = _listen(plain)
    try:
        tls_listener = _listen(tls[0] if tls else None)
    except BaseException:
        if plain_listener is not None:
            plain_listener.socket.close()
        raise
    async with trio.open_nursery() as connections:
        try:
            async with trio.open_nursery() as accepting:
                if plain_listener is not None:
                    accepting.start_soon(server.accept, plain_listener, None, connections)
                if tls_listener is not None and tls is not None:
                    accepting.start_soon(server.accept, tls_listener, tls[1], connections)
                task_status.started(Bound(plain=_address(plain_listener), tls=_address(tls_listener)))
                await shutdown()
                accepting.cancel_scope.cancel()
        finally:
            for listener in (plain_listener, tls_listener):
                if listener is not None:
                    listener.socket.close()
        await server.stop()
        connections.cancel_scope.deadline = trio.current_time() + limits.grace_s


def _listen(address: Address | None) -> trio.SocketListener | None:
    return None if address is None else trio.SocketListener(trio.socket.from_stdlib_socket(listen_on(address)))


def _address(listener: trio.SocketListener | None) -> Address | None:
    if listener is None:
        return None
    host, port = listener.socket.getsockname()[:2]
    return Address(host, port)


class _Server:
    """What all connections share."""

    def __init__(self, app: App, log: FilteringBoundLogger, limits: HttpLimits) -> None:
        self.app = app
        self.log = log
        self.limits = limits
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.errorlog = None
        self.config.include_server_header = False
        self.config.h11_max_incomplete_size = limits.headers_bytes_max
        self.config.keep_alive_max_requests = limits.requests_max
        self.connections: dict[_Connection, None] = {}
        self._room = trio.CapacityLimiter(limits.connections_max)

    async def accept(
        self, listener: trio.SocketListener, context: ssl.SSLContext | None, nursery: trio.Nursery
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self.log.warning("http_server.not_accepting", reason=str(error))
                await trio.sleep(_ACCEPT_RETRY_S)
                continue
            borrower = object()
            try:
                self._make_room()
                await self._room.acquire_on_behalf_of(borrower)
            except BaseException:
                stream.socket.close()
                raise
            nursery.start_soon(self._serve, stream, context, borrower)

    def _make_room(self) -> None:
        """Where there is no room for another, end whoever has been here for longest and asks nothing.

        Who only holds connections must not keep those out who have something to ask.
        """
        if not self._room.available_tokens:
            any(connection.stop() for connection in self.connections)

    async def _serve(self, stream: trio.SocketStream, context: ssl.SSLContext | None, borrower: object) -> None:
        try:
            await _Connection(self, stream, context).run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The client's: it went away.
        except* Exception as errors:  # One connection's bug must not end the others.
            self.log.error("http_connection.crashed", reason=repr(errors.exceptions[0]))
        finally:
            self._room.release_on_behalf_of(borrower)
            await trio.aclose_forcefully(stream)

    async def stop(self) -> None:
        """Close idle connections; others close after their answer."""
        await self.context.terminated.set()
        for connection in tuple(self.connections):
            connection.stop()


class _Connection:
    """One connection: reads for hypercorn's state machine, writes what it says, ends what takes too long."""

    def __init__(self, server: _Server, stream: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._socket = stream.socket
        self._secure = context is not None
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = stream
        if context is not None:
            self._stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        self._idle = True
        self._ended = False  # nothing more is said to the client
        self._answered = trio.Event()  # set once it has ended
        self._handshake = trio.CancelScope()
        self._reading = trio.CancelScope()  # its deadline is the client's
        self._send_lock = trio.Lock()
        self._protocol: _Http11

    async def run(self) -> None:
        limits = self._server.limits
        self._server.connections[self] = None
        try:
            with self._handshake:
                self._handshake.deadline = trio.current_time() + limits.handshake_s
                if isinstance(self._stream, trio.SSLStream):
                    await self._stream.do_handshake()
            if self._handshake.cancelled_caught:
                return
            async with trio.open_nursery() as nursery:
                self._protocol = self._make_protocol(nursery)
                await self._read()
                nursery.cancel_scope.cancel()  # The client is gone: nobody waits for the answer.
            with trio.move_on_after(limits.linger_s):
                await self._stream.aclose()
        finally:
            del self._server.connections[self]

    def stop(self) -> bool:
        """End now if no request is under way; tell whether this did it."""
        if not self._idle or self._reading.cancel_called:
            return False
        self._handshake.cancel()
        self._reading.cancel()
        return True

    def _make_protocol(self, nursery: trio.Nursery) -> "_Http11":
        server, ours = self._server, local_address(self._socket)  # type: ignore[arg-type]  # Only its name is asked.
        peer = self._socket.getpeername()
        return _Http11(
            server.app,  # type: ignore[arg-type]  # Hypercorn only passes it on to `_Tasks`.
            server.config,
            server.context,
            _Tasks(nursery, server.log),  # type: ignore[arg-type]  # Their task group, as far as it is used.
            ConnectionState({}),
            self._secure,
            (peer[0], peer[1]),
            (ours.host, ours.port),
            self._handle,
        )

    async def _read(self) -> None:
        with self._reading:
            self._reading.deadline = trio.current_time() + self._server.limits.headers_s
            while True:
                try:
                    data = bytes(await self._stream.receive_some(_RECEIVE_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                if not self._ended:
                    await self._protocol.handle(RawData(data=data))
                if not data:
                    break
        # A client may close its side after its last request and still wait for the answer.
        with trio.move_on_after(self._server.limits.half_closed_s):
            while not (self._idle or self._ended):
                await self._answered.wait()
        await self._protocol.handle(Closed())

    async def _handle(self, event: Event) -> None:
        """Do what hypercorn's state machine wants done."""
        match event:
            case RawData():
                await self._send(event.data)
            case Closed():
                await self._linger()
            case Updated():
                self._idle = event.idle
                span_s = self._server.limits.headers_s if event.idle else float("inf")
                self._reading.deadline = trio.current_time() + span_s

    async def _send(self, data: bytes) -> None:
        async with self._send_lock:
            if self._ended:
                return
            with trio.move_on_after(self._server.limits.send_s) as sending:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._end()
            if sending.cancelled_caught:
                self._end()

    def _end(self) -> None:
        self._ended = True
        self._answered.set()
        self._reading.cancel()

    async def _linger(self) -> None:
        """Say that this was all. While the client still sends, closing would reset what it has not read yet: read on."""
        if self._protocol.connection.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self._end()
            return
        self._ended = True
        self._answered.set()
        self._reading.deadline = trio.current_time() + self._server.limits.linger_s
        if isinstance(self._stream, trio.SocketStream):
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                self._reading.cancel()


class _Http11(H11Protocol):
    """Hypercorn's state machine without its ways out of HTTP/1.1: an Upgrade is passed over, as a server may."""

    async def _check_protocol(self, event: h11.Request) -> None:
        return

    async def _create_stream(self, request: h11.Request) -> None:
        refusal = _refusal(request, self.config.h11_max_incomplete_size)
        if refusal:
            await self._send_error_response(refusal)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        )


def _refusal(request: h11.Request, headers_bytes_max: int) -> int:
    """Return with which status a request is refused that h11 lets pass; 0: not at all."""
    # h11 counts the bytes of headers only while they are incomplete.
    size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
    if size > headers_bytes_max:
        return 431
    names = {name for name, _ in request.headers}
    # Whoever stands before us may go by the other length, and take what follows for the next client's (RFC 9112, 6.1).
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version < b"1.1"):
        return 400
    return 0


class _Tasks:
    """Runs the application for hypercorn's streams. Its messages wait in a bounded inbox that ends with the application."""

    def __init__(self, nursery: trio.Nursery, log: FilteringBoundLogger) -> None:
        self._nursery = nursery
        self._log = log

    async def spawn_app(
        self, app: App, config: Config, scope: Message, send: Callable[[Message | None], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """Start the application on one request; return how to tell it of the body."""
        inbox = _Inbox()
        self._nursery.start_soon(self._run_app, app, scope, inbox, send)
        return inbox.put

    async def _run_app(
        self, app: App, scope: Message, inbox: "_Inbox", send: Callable[[Message | None], Awaitable[None]]
    ) -> None:
        try:
            await app(scope, inbox.get, send)
        except Exception as error:  # The server's answer to it is a 500.
            self._log.error("http_connection.crashed", reason=repr(error))
        finally:
            inbox.close()
        await send(None)


class _Inbox:
    """Messages for the application. Putting waits while it is full; after the application has ended they are dropped."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._open = True
        self._changed = trio.Event()

    async def put(self, message: Message) -> None:
        """Who disconnects does not wait: it may be the application's own end that says so."""
        while self._open and len(self._messages) >= _INBOX_MESSAGES_MAX and message["type"] != "http.disconnect":
            await self._changed.wait()
        if self._open:
            self._messages.append(message)
            self._note()

    async def get(self) -> Message:
        while not self._messages:
            await self._changed.wait()
        message = self._messages.popleft()
        self._note()
        await trio.lowlevel.checkpoint()
        return message

    def close(self) -> None:
        self._open = False
        self._messages.clear()
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
