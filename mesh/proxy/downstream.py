"""The client's side of one proxied connection: its bytes, and the news that it has gone away."""

from mesh.model.errors import BrokenConnection
from mesh.runtime.environment import Connection, Reactor
from mesh.runtime.pump import Pump

PIPELINED_BYTES_MAX = 65_536


class DownstreamGone(Exception):
    """The client has closed or broken the connection; nobody is left to answer."""


class Downstream:
    """One client connection. Watched from its first exchange on: its going is told to the pump wherever that is parked."""

    __slots__ = ("_pump", "buffer", "connection", "reactor", "watched")

    def __init__(self, connection: Connection, reactor: Reactor) -> None:
        pump = reactor.current
        assert pump is not None
        self.connection = connection
        self.reactor = reactor
        self.buffer = b""  # bytes that came early: the next request, pipelined
        self.watched = False
        self._pump: Pump = pump

    async def receive(self) -> bytes:
        """Return the next bytes. Raises: DownstreamGone at the end of the stream too; DeadlineExceeded."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        try:
            data = await self.connection.receive()
        except BrokenConnection as error:
            raise DownstreamGone from error
        if not data:
            raise DownstreamGone
        return data

    async def send(self, data: bytes) -> None:
        """Send. Raises: DownstreamGone, DeadlineExceeded."""
        try:
            await self.connection.send(data)
        except BrokenConnection as error:
            raise DownstreamGone from error

    def put_back(self, data: bytes) -> None:
        """Keep bytes that belong to what comes next."""
        self.buffer = data + self.buffer if self.buffer else data

    def give_back(self) -> None:
        """Hand early bytes back to the connection: somebody else reads on."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            self.connection.unread(data)

    def watch(self) -> None:
        """From now on, throw DownstreamGone into the pump when the client goes while the pump waits for something else."""
        self.watched = True
        self.connection.watch(self._on_event)

    def unwatch(self) -> None:
        """Stop watching: bytes are to be read by somebody else, or there are too many."""
        self.watched = False
        self.connection.watch(None)

    def _on_event(self) -> None:
        if not self.watched:
            return
        if self.reactor.current is not None:
            # Reported within a pump's step, perhaps our own, as `watch` does for what has come already: not now.
            self.reactor.call_soon(self._on_event)
            return
        try:
            data = self.connection.receive_now()
        except BrokenConnection:
            data = b""
        if data == b"":
            self.watched = False
            self._pump.throw(DownstreamGone())
        elif data:
            self.buffer += data
            if len(self.buffer) >= PIPELINED_BYTES_MAX:
                self.unwatch()
