"""One end of a simulated TCP connection: buffers, window, end, failure. Its faces are in `connection` and `streams`.

The way of a segment: `send_now` puts it on the clock's heap, `arrive` of the peer appends it to the buffer there and wakes
the reader. Bytes go by reference. Whatever is not this plain case (rules, bandwidth, loss, a dead peer) is in
`sim.network.transmission`.

One window stands for the sender's and the receiver's buffers: at most `window_bytes` are sent and not yet read. Reading
opens it again after the way back, in steps of an eighth.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappush
from random import Random
from typing import TYPE_CHECKING

from mesh.model.errors import BrokenConnection, ClosedConnection, MeshError
from mesh.model.names import Address
from sim import event_log
from sim.network import transmission
from sim.network.rules import Kind

if TYPE_CHECKING:
    from sim.network.fabric import SimNetwork
    from sim.network.links import Path

RECEIVE_BYTES_MAX = 256 * 1024
SEGMENT_BYTES_MAX = 256 * 1024

broken = partial(BrokenConnection, "connection termination")
_NOTHING: deque[bytes] = deque(maxlen=0)  # the buffer of closed sockets


class Socket:
    """The state of one end. A socket fails once: then `error` makes the exception for whoever uses it."""

    __slots__ = (
        "_network",
        "_role",
        "ack_at",
        "ack_pending",
        "backlog",
        "buffer",
        "clock",
        "closed",
        "consumed",
        "dead",
        "deliver",
        "ended",
        "eof_sent",
        "error",
        "last_due_ns",
        "linger_until_ns",
        "local",
        "log_id",
        "number",
        "opened_ns",
        "path",
        "peer",
        "random",
        "reader",
        "remote",
        "send_limit",
        "sent",
        "server_port",
        "trace",
        "watcher",
        "window_bytes",
        "writer",
    )

    peer: "Socket"
    deliver: Callable[[bytes], None]  # the peer's `arrive`

    def __init__(self, network: "SimNetwork", path: "Path", local: Address, remote: Address) -> None:
        self._network = network
        self._role = ""
        self.clock = network.clock
        self.trace = network.log.trace
        self.log_id = 0  # of the direction towards this end
        self.path = path  # towards the peer
        self.local = local
        self.remote = remote
        self.number = 0
        self.server_port = 0
        self.opened_ns = network.clock.now_ns
        self.random: Random | None = None
        self.window_bytes = network.model.window_bytes
        # Receiving.
        self.buffer: deque[bytes] = deque()
        self.ended = False  # the peer's end has arrived; what is in `buffer` comes before it
        self.reader: Callable[[], None] | None = None  # wakes who is parked in receive
        self.watcher: Callable[[], None] | None = None
        self.consumed = 0
        self.ack_at = self.window_bytes // 8
        self.ack_pending = False
        # Sending.
        self.sent = 0
        self.send_limit = self.window_bytes  # invariant: -1 as soon as nothing may be sent any more
        self.eof_sent = False
        self.writer: Callable[[], None] | None = None  # wakes who is parked in send
        self.last_due_ns = 0  # nothing of this direction arrives before what went before it
        self.backlog: transmission.Backlog | None = None
        # Life.
        self.error: Callable[[], MeshError] | None = None
        self.closed = False  # by this end's owner
        self.linger_until_ns = -1  # a closed end takes and forgets what arrives until then
        self.dead = False  # its host lost power

    def pair_with(self, peer: "Socket", role: str, number: int, server_port: int) -> None:
        """Name the other end, before anything is sent. `role` is this end's, `number` the connection's."""
        self.peer = peer
        self.deliver = peer.arrive
        self._role = role
        self.number = number
        self.server_port = server_port
        self.log_id = self._network.log.trace_id(self.path.target.name, self.path.source.name, number)

    # Sending.

    def send_now(self, data: bytes) -> bool:
        """Send a segment of at most SEGMENT_BYTES_MAX if the window has room for all of it."""
        size = len(data)
        sent = self.sent + size
        if sent > self.send_limit or size > SEGMENT_BYTES_MAX:
            return False
        self.sent = sent
        path = self.path
        if path.plain and self.backlog is None:
            clock = self.clock
            latency_ns = path.constant_ns
            if latency_ns < 0:
                latency_ns = path.sample_ns(self.random or self.make_random())
            due_ns = clock.now_ns + latency_ns
            if due_ns < self.last_due_ns:
                due_ns = self.last_due_ns
            self.last_due_ns = due_ns
            clock.sequence = sequence = clock.sequence + 1
            heappush(clock.heap, (due_ns, sequence, self.deliver, data))
        else:
            transmission.emit(self, Kind.DATA, self.deliver, data, size)
        return True

    def send_part(self, data: bytes, start: int) -> int:
        """Send what the window has room for; return how many bytes from `start` that were."""
        size = min(self.send_limit - self.sent, SEGMENT_BYTES_MAX, len(data) - start)
        if size <= 0:
            return 0
        self.send_now(data if size == len(data) else data[start : start + size])
        return size

    def refuse_to_send(self) -> None:
        """Raise what forbids sending, if anything does."""
        if self.error is not None:
            raise self.error()
        if self.eof_sent:
            raise ClosedConnection("the end of this direction has been sent")

    def send_end(self) -> None:
        """End this direction, after what was sent; safe to repeat."""
        if not self.eof_sent:
            self.eof_sent = True
            self.send_limit = -1
            transmission.emit(self, Kind.FIN, self.peer.arrive_end, None, 0)

    def credit(self, consumed: int) -> None:
        """Learn that the peer has read `consumed` bytes in all."""
        if self.send_limit >= 0:
            self.send_limit = max(self.send_limit, consumed + self.window_bytes)
            if self.writer is not None:
                self.writer()

    def make_random(self) -> Random:
        """Return this direction's stream of chance."""
        if self.random is None:
            path = self.path
            stage = "open" if self.error is None else "ended"
            key = ("link", path.source.name, path.target.name, self._role, self.number, stage)
            self.random = self._network.randomness.fresh(*key)
        return self.random

    # Receiving.

    def arrive(self, data: bytes) -> None:
        """Take a segment from the network."""
        if self.error is not None:
            transmission.arrive_late(self, Kind.DATA, self.arrive, data, len(data))
            return
        self.buffer.append(data)
        self.trace((self.clock.now_ns, self.log_id + len(data)))
        reader = self.reader
        if reader is not None:
            reader()
        elif self.watcher is not None:
            self.watcher()

    def arrive_end(self, _: object) -> None:
        """Take the peer's end from the network."""
        if self.error is not None:
            transmission.arrive_late(self, Kind.FIN, self.arrive_end, None, 0)
            return
        self.ended = True
        self.trace((self.clock.now_ns, self.log_id + event_log.FIN))
        if self.reader is not None:
            self.reader()
        elif self.watcher is not None:
            self.watcher()

    def arrive_reset(self, _: object) -> None:
        """Take a reset from the network."""
        if self.error is None:
            self.trace((self.clock.now_ns, self.log_id + event_log.RST))
            self.fail(broken)
        self.backlog = None

    @property
    def readable(self) -> bool:
        """Whether receiving would not park: bytes, the end, or an error."""
        return bool(self.buffer) or self.ended or self.error is not None

    def take(self, bytes_max: int = RECEIVE_BYTES_MAX) -> bytes:
        """Return what has arrived, at most `bytes_max` bytes; there must be some."""
        buffer = self.buffer
        data = buffer.popleft()
        size = len(data)
        if buffer or size > bytes_max:
            data = self._cut_or_join(data, bytes_max)
            size = len(data)
        consumed = self.consumed = self.consumed + size
        if consumed >= self.ack_at:
            transmission.acknowledge(self)
        return data

    def take_end(self) -> bytes:
        """Return b"" at the peer's end; raise the error otherwise. The buffer must be empty, and not `readable` is a bug."""
        if self.ended:
            return b""
        assert self.error is not None
        raise self.error()

    def put_back(self, data: bytes) -> None:
        """Make bytes the next that `take` returns."""
        if data and not self.closed:
            self.consumed -= len(data)
            self.buffer.appendleft(data)

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call back whenever something arrives that nobody is parked for; soon, if it is there already."""
        self.watcher = callback
        if callback is not None and (self.buffer or self.ended or self.error is not None):
            self._wake_soon()

    def _cut_or_join(self, first: bytes, bytes_max: int) -> bytes:
        buffer = self.buffer
        if len(first) > bytes_max:
            buffer.appendleft(first[bytes_max:])
            return first[:bytes_max]
        parts, size = [first], len(first)
        while buffer and size + len(buffer[0]) <= bytes_max:
            size += len(buffer[0])
            parts.append(buffer.popleft())
        return b"".join(parts)

    # Life.

    def open(self) -> None:
        """Enter the host's table of sockets."""
        self.path.source.sockets[self] = None

    def close(self, *, linger_ns: int = 0) -> None:
        """End both directions; what was sent still arrives.

        What the peer sends afterwards provokes a reset, but for `linger_ns` it is taken in silence. Without lingering,
        bytes that nobody has read provoke it at once, as on Linux.
        """
        if self.closed:
            return
        if self.error is None:
            if self.buffer and not linger_ns:
                self._reset_peer()
            else:
                self.linger_until_ns = self.clock.now_ns + linger_ns
                self.send_end()
        self._close()

    def abort(self) -> None:
        """Drop everything; the peer sees a reset."""
        if self.closed:
            return
        if self.error is None:
            self._reset_peer()
        self._close()

    def fail(self, error: Callable[[], MeshError]) -> None:
        """Break this end alone. What arrived before can still be read."""
        if self.error is None:
            self.ended = False
            self.backlog = None
            self._stop(error)

    def die(self) -> None:
        """Lose power: nobody is told, neither the peer nor whoever is parked here."""
        self.dead = self.closed = True
        self.backlog = None
        self.buffer = _NOTHING
        self.ended = False
        self.reader = self.writer = self.watcher = None
        self._stop(broken)

    def _close(self) -> None:
        self.closed = True
        self.buffer = _NOTHING
        self.ended = False
        self.watcher = None
        self._stop(ClosedConnection)

    def _stop(self, error: Callable[[], MeshError]) -> None:
        self.error = error
        self.send_limit = -1
        # The two sockets refer to each other and wait for the garbage collector: let them be small.
        self.random = None
        self.path.source.sockets.pop(self, None)
        if self.reader is not None or self.writer is not None or self.watcher is not None:
            self._wake_soon()

    def _reset_peer(self) -> None:
        self.backlog = None
        transmission.send_reset(self)

    def _wake_soon(self) -> None:
        # Not at once: whoever closes may be a pump, and pumps must not step one another.
        self.clock.push(self.clock.now_ns, self._wake, None)

    def _wake(self, _: object) -> None:
        if self.reader is not None:
            self.reader()
        elif self.watcher is not None and self.readable:
            self.watcher()
        if self.writer is not None:
            self.writer()
