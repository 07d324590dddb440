"""Sockets of the reactor: `SocketConnection` for pumps and `SocketListener`, which gives each connection its pump.

This is the hot path: it allocates nothing but the bytes, and a receive that finds data or a send that fits costs one
system call. Sockets are registered once, edge-triggered: the kernel reports changes only, so `_readable` remembers
between reports whether a `recv` can find anything. Does not speak TLS.
"""

import errno
import select
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from mesh.model.errors import BrokenConnection, ClosedConnection, ConnectFailed
from mesh.model.names import Address, SpiffeId
from mesh.runtime.pump import Pump, park
from mesh.runtime.real.listening import ip_family, local_address

if TYPE_CHECKING:
    from mesh.runtime.environment import Connection
    from mesh.runtime.reactor import EpollReactor

EDGE_TRIGGERED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
LEVEL_TRIGGERED = select.EPOLLIN
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READ = select.EPOLLIN | _ENDED
_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

_RECEIVE_BYTES = 64 * 1024
_RECEIVE_BYTES_MAX = 256 * 1024  # While bulk flows: a prototype used 1.7 times less CPU a byte than with 64 KiB.
_BULK_ENDED_BYTES = 16 * 1024
_FULL_RECEIVES_MAX = 8  # One after the other, some 2 MiB or 1 ms; then the other pumps get their turn.

_LINGER_S = 1.0  # Source: Envoy `delayed_close_timeout`.
_LINGER_READS_MAX = 4  # In one turn; what arrives beyond waits in the kernel until the linger ends.

_ACCEPTS_MAX = 16  # In one turn: a burst of connects must not starve the connections that are there.
_ACCEPT_PAUSE_S = 0.1
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s. Closing then sends a reset.

Serve = Callable[["Connection"], Coroutine[Any, Any, None]]


def _raise_closed(_: object) -> NoReturn:
    raise ClosedConnection("this side has closed the connection")


class SocketConnection:
    """A TCP connection of the reactor; see `mesh.runtime.environment.Connection`."""

    __slots__ = (
        "_broken",
        "_ended",
        "_eof",
        "_fd",
        "_front",
        "_full_receives",
        "_reactor",
        "_readable",
        "_reader",
        "_receive_bytes",
        "_recv",
        "_send",
        "_socket",
        "_watcher",
        "_writer",
        "closed",
        "local",
        "peer",
        "remote",
        "secure",
        "sni",
    )

    def __init__(self, reactor: "EpollReactor", sock: socket.socket, *, local: Address, remote: Address) -> None:
        self.local = local
        self.remote = remote
        self.peer: SpiffeId | None = None
        self.secure = False
        self.sni = ""
        self.closed = False
        self._reactor = reactor
        self._socket = sock
        self._fd = sock.fileno()
        self._recv: Callable[[int], bytes] = sock.recv
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._receive_bytes = _RECEIVE_BYTES
        self._front = b""  # put back by `unread`
        self._full_receives = 0
        self._readable = False  # invariant: False only if the kernel will report the next bytes or the end
        self._ended = False  # the kernel reported an end or an error: no further report may come
        self._eof = False
        self._broken = False
        self._reader: Pump | None = None  # parked in receive
        self._writer: Pump | None = None  # parked in send or connect
        self._watcher: Callable[[], None] | None = None
        reactor.register(self._fd, self, EDGE_TRIGGERED)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "broken" if self._broken else "open"
        return f"<SocketConnection {self.local} - {self.remote} {state}>"

    def on_events(self, events: int) -> None:
        """Take the kernel's report: resume who waits for it."""
        if events & _READ:
            self._readable = True
            if events & _ENDED:
                self._ended = True
            reader = self._reader
            if reader is not None:
                reader.resume()
                if self._ended:
                    # The reader may have stopped before the end that came with its bytes; no other report will tell it.
                    self._report_to_watcher()
            elif self._watcher is not None:
                self._watcher()
        if events & _WRITE:
            writer = self._writer
            if writer is not None:
                writer.resume()

    def receive_now(self) -> bytes | None:
        if self._front:
            data, self._front = self._front, b""
            return data
        if not self._readable:
            return None
        size = self._receive_bytes
        try:
            data = self._recv(size)
        except BlockingIOError:
            self._readable = False
            return None
        except OSError as error:
            self._broken = True
            raise BrokenConnection from error
        received = len(data)
        if received == size:
            self._on_bulk()
        elif received:
            # The kernel had no more. After a reported end it will not report again: then only `recv` tells.
            self._readable = self._ended
            if received < _BULK_ENDED_BYTES:
                self._receive_bytes = _RECEIVE_BYTES
        else:
            self._on_eof()
        return data

    def _on_bulk(self) -> None:
        self._receive_bytes = _RECEIVE_BYTES_MAX
        self._full_receives += 1
        if self._full_receives >= _FULL_RECEIVES_MAX:
            # Between two fast peers a relay would never park. Let it: as if the kernel reported at the turn's end.
            self._full_receives = 0
            self._readable = False
            self._reactor.call_soon(self._report_again)

    def _report_again(self) -> None:
        self.on_events(select.EPOLLIN)

    def _on_eof(self) -> None:
        if self._broken:
            # The kernel reports a reset once, then it looks like a proper end.
            raise BrokenConnection
        self._eof = True

    async def receive(self) -> bytes:
        data = self.receive_now()
        while data is None:
            assert self._reader is None, "only one pump receives at a time"
            self._reader = self._reactor.current
            try:
                await park()
            finally:
                self._reader = None
            data = self.receive_now()
        return data

    async def send(self, data: bytes) -> None:
        assert self._writer is None, "only one pump sends at a time"
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._send_failed(error) from error
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            await self._park_writer()
            try:
                sent = self._send(rest)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._send_failed(error) from error
            rest = rest[sent:]

    def _send_failed(self, error: OSError) -> BrokenConnection:
        # A broken pipe alone leaves the other direction whole: an early answer may still be there to read.
        if not isinstance(error, BrokenPipeError):
            self._broken = True
        return BrokenConnection()

    async def _park_writer(self) -> None:
        self._writer = self._reactor.current
        try:
            await park()
        finally:
            self._writer = None

    async def connected(self) -> None:
        """Park until the connection that `start_connecting` began is there. Raises: ConnectFailed."""
        while True:
            await self._park_writer()
            failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure == errno.ECONNRESET:
                # It was there already, and the peer has reset it meanwhile: a refusal is ECONNREFUSED.
                self._broken = True
            elif failure:
                raise ConnectFailed from OSError(failure, errno.errorcode.get(failure, ""))
            elif not self._has_peer():
                continue  # Resumed for another reason: still connecting.
            self.local = local_address(self._socket)
            return

    def _has_peer(self) -> bool:
        try:
            self._socket.getpeername()
        except OSError:
            return False
        return True

    async def send_eof(self) -> None:
        if self.closed:
            _raise_closed(self)
        self._send = _raise_closed
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._send_failed(error) from error

    def unread(self, data: bytes) -> None:
        self._front = data + self._front

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._watcher = None if self.closed else callback
        if callback is None or not (self._readable or self._front):
            return
        if not self._front and self._is_silent():
            self._readable = False
        else:
            # It came before anybody watched: the kernel will not report it again.
            self._reactor.call_soon(self._report_to_watcher)

    def _is_silent(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            self._broken = True
        return False

    def _report_to_watcher(self) -> None:
        if self._watcher is not None and self._reader is None and (self._readable or self._front):
            self._watcher()

    def close(self) -> None:
        if self.closed:
            return
        unread = self._readable
        self._retire()
        if self._eof or self._broken:
            self.discard()
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.discard()
            return
        # Closing while the peer still sends makes the kernel answer with a reset, and a reset makes the peer's kernel
        # drop what we wrote and it has not read yet. So take its bytes until it ends too, for a while.
        self._watcher = self._drain
        self._reactor.call_at(self._reactor.now() + _LINGER_S, self.discard)
        if unread:
            self._drain()

    def _drain(self) -> None:
        try:
            for _ in range(_LINGER_READS_MAX):
                if not self._socket.recv(_RECEIVE_BYTES):
                    self.discard()
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.discard()

    def abort(self) -> None:
        if self._fd < 0:
            return
        self._retire()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass  # The peer was faster.
        self.discard()

    def _retire(self) -> None:
        self.closed = True
        self._recv = self._send = _raise_closed
        self._readable = True
        self._front = b""
        self._watcher = None
        for pump in (self._reader, self._writer):
            if pump is not None:
                self._reactor.call_soon(pump.resume)

    def discard(self) -> None:
        """Give the socket back to the kernel at once; safe to repeat."""
        if self._fd < 0:
            return
        if not self.closed:
            self._retire()
        self._watcher = None
        self._reactor.unregister(self._fd)
        self._fd = -1
        self._socket.close()


def start_connecting(reactor: "EpollReactor", address: Address) -> SocketConnection:
    """Begin to connect to an IP address; await `connected()` next. Raises: ConnectFailed, ConfigError when it is a name."""
    family = ip_family(address.host)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectFailed from error
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    failure = sock.connect_ex((address.host, address.port))
    if failure not in (0, errno.EINPROGRESS):
        sock.close()
        raise ConnectFailed from OSError(failure, errno.errorcode.get(failure, ""))
    return SocketConnection(reactor, sock, local=Address("", 0), remote=address)


class SocketListener:
    """A listening socket whose connections each get a pump; see `mesh.runtime.environment.ReactorListener`."""

    __slots__ = ("_bound_to_all", "_fd", "_name", "_reactor", "_serve", "_socket", "address")

    def __init__(self, reactor: "EpollReactor", sock: socket.socket, serve: Serve) -> None:
        self.address = local_address(sock)
        self._reactor = reactor
        self._socket = sock
        self._fd = sock.fileno()
        self._serve = serve
        self._name = f"connection to {self.address}"
        self._bound_to_all = self.address.host in ("0.0.0.0", "::")
        # Level-triggered: whatever one turn leaves in the backlog is reported again in the next.
        reactor.register(self._fd, self, LEVEL_TRIGGERED)

    def on_events(self, events: int) -> None:
        """Accept what is there, a bounded number of connections."""
        for _ in range(_ACCEPTS_MAX):
            if self._fd < 0:
                return  # A pump's first step closed the listener.
            try:
                sock, (host, port, *_rest) = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self._pause(error)
                    return
                continue  # The peer gave up while it waited in the backlog.
            self._welcome(sock, Address(host, port))

    def _welcome(self, sock: socket.socket, remote: Address) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local = local_address(sock) if self._bound_to_all else self.address
        except OSError:
            sock.close()  # Reset already.
            return
        connection = SocketConnection(self._reactor, sock, local=local, remote=remote)
        self._reactor.start_serving(self._serve, connection, name=self._name)

    def _pause(self, error: OSError) -> None:
        # Level-triggered and not acceptable would be reported without end.
        self._reactor.log.error("listener.paused", address=str(self.address), error=str(error), pause_s=_ACCEPT_PAUSE_S)
        self._reactor.modify(self._fd, 0)
        self._reactor.call_at(self._reactor.now() + _ACCEPT_PAUSE_S, self._continue)

    def _continue(self) -> None:
        if self._fd >= 0:
            self._reactor.modify(self._fd, LEVEL_TRIGGERED)

    def close(self) -> None:
        self.discard()

    def discard(self) -> None:
        """Give the socket back to the kernel at once; safe to repeat."""
        if self._fd < 0:
            return
        self._reactor.unregister(self._fd)
        self._fd = -1
        self._socket.close()
