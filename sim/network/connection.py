"""The pumps' face of a socket: `mesh.runtime.environment.Connection` in the simulated network."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mesh.model.names import Address, SpiffeId
from mesh.runtime.pump import park
from sim.clock import NS_PER_S
from sim.network.socket import Socket

if TYPE_CHECKING:
    from sim.reactor import SimReactor

LINGER_NS = NS_PER_S  # As the real reactor's: a reset would take from the peer what it has not read yet.


class SimConnection:
    """A byte stream for pumps. See `Connection` for what each method promises."""

    __slots__ = ("_reactor", "_socket", "_watcher", "local", "peer", "remote", "secure", "sni")

    def __init__(self, reactor: "SimReactor", socket: Socket) -> None:
        self._reactor = reactor
        self._socket = socket
        self._watcher: Callable[[], None] | None = None
        self.local: Address = socket.local
        self.remote: Address = socket.remote
        self.peer: SpiffeId | None = None
        self.secure = False
        self.sni = ""

    def receive_now(self) -> bytes | None:
        """Return bytes that are there, b"" at the end of the stream, None when `receive` would park."""
        socket = self._socket
        if socket.buffer:
            return socket.take()
        return socket.take_end() if socket.readable else None

    async def receive(self) -> bytes:
        """Return the next bytes, b"" at the end of the stream."""
        socket = self._socket
        if not socket.buffer:
            pump = self._reactor.current
            assert pump is not None, "only pumps receive"
            assert socket.reader is None, "another pump receives from this connection"
            socket.reader = pump.resume
            try:
                while not socket.buffer:
                    if socket.ended or socket.error is not None:
                        return socket.take_end()
                    await park()
            finally:
                socket.reader = None
        return socket.take()

    async def send(self, data: bytes) -> None:
        """Hand all of `data` over; parks while the window is full."""
        if type(data) is not bytes:
            data = bytes(data)
        if not data or not self._socket.send_now(data):
            await self._send_in_parts(data)

    async def _send_in_parts(self, data: bytes) -> None:
        socket = self._socket
        assert socket.writer is None, "another pump sends on this connection"
        pump = self._reactor.current
        assert pump is not None, "only pumps send"
        start = 0
        try:
            while True:
                socket.refuse_to_send()
                start += socket.send_part(data, start)
                if start == len(data):
                    return
                socket.writer = pump.resume
                if socket.send_limit <= socket.sent and socket.error is None:
                    await park()
        finally:
            socket.writer = None

    async def send_eof(self) -> None:
        """End our direction; the peer's stays open."""
        socket = self._socket
        if socket.error is not None:
            raise socket.error()
        socket.send_end()

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._socket.put_back(data)

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call back whenever bytes or the end arrive and nobody is parked in `receive`."""
        socket = self._socket
        self._watcher = callback
        if callback is None:
            socket.watcher = None
        elif not socket.closed:
            socket.watch(self._on_event)

    def _on_event(self) -> None:
        callback = self._watcher
        if callback is not None:
            self._reactor.call(callback)

    def close(self) -> None:
        """Close after what was sent has gone out; safe to repeat."""
        self._socket.close(linger_ns=LINGER_NS)

    def abort(self) -> None:
        """Drop everything at once."""
        self._socket.abort()
