"""Records messages between hosts, for the space-time diagram of a report: when each was sent, and when it arrived, if ever.

Other classes of sockets and handshakes, which a network uses from its beginning or not at all: who does not record pays
nothing. They add no draws and no events, so the run is the same. Not recorded: what stays within a host, and acknowledgements.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from mesh.model.names import Address
from sim.clock import NS_PER_S
from sim.network.fabric import SimNetwork
from sim.network.handshake import Handshake
from sim.network.host import NetworkHost
from sim.network.links import Path
from sim.network.socket import Socket

MESSAGES_KEPT_MAX = 4_000_000  # 40 bytes each; beyond that the older half is forgotten
_NEVER = -1


class MessageKind(IntEnum):
    """What a message is. The numbers stand in report pages."""

    DATA = 0
    END = 1
    RESET = 2
    SYN = 3
    SYN_ACK = 4
    REFUSED = 5


class Message(NamedTuple):
    """One message. Times in seconds of the world; `arrived_s` None: never, or not before the run ended."""

    sent_s: float
    arrived_s: float | None
    source: str
    target: str
    size: int
    kind: MessageKind
    connection: int


class Tape:
    """What was recorded, in the order of sending."""

    def __init__(self) -> None:
        self._sent, self._arrived = array("q"), array("q")
        self._ways, self._sizes = array("q"), array("q")
        self._connections = array("q")
        self._hosts: list[str] = []
        self._number_by_host: dict[str, int] = {}
        self._first = 0  # the number of the first one that is still known

    def record(self, now_ns: int, socket: Socket, size: int, kind: MessageKind) -> int:
        """Note that one end sends something now; return its number, for `arrive`."""
        path = socket.path
        self._sent.append(now_ns)
        self._arrived.append(_NEVER)
        self._ways.append(self._number(path.source) << 24 | self._number(path.target) << 4 | kind)
        self._sizes.append(size)
        self._connections.append(socket.number)
        if len(self._sent) > MESSAGES_KEPT_MAX:
            self._forget(MESSAGES_KEPT_MAX // 2)
        return self._first + len(self._sent) - 1

    def arrive(self, number: int, now_ns: int) -> None:
        """Note that a message has arrived."""
        if number >= self._first:
            self._arrived[number - self._first] = now_ns

    def between(self, from_s: float, to_s: float) -> Iterator[Message]:
        """Return what was sent or arrived in a stretch of time, in the order of sending."""
        start_ns, stop_ns = round(from_s * NS_PER_S), round(to_s * NS_PER_S)
        for place, (sent, arrived) in enumerate(zip(self._sent, self._arrived, strict=True)):
            if sent > stop_ns:
                return
            if sent >= start_ns or start_ns <= arrived <= stop_ns:
                yield self._message(place, sent, arrived)

    def _message(self, place: int, sent: int, arrived: int) -> Message:
        way = self._ways[place]
        return Message(
            sent_s=sent / NS_PER_S,
            arrived_s=None if arrived == _NEVER else arrived / NS_PER_S,
            source=self._hosts[way >> 24],
            target=self._hosts[way >> 4 & 0xFFFFF],
            size=self._sizes[place],
            kind=MessageKind(way & 0xF),
            connection=self._connections[place],
        )

    def _number(self, host: NetworkHost) -> int:
        number = self._number_by_host.get(host.name)
        if number is None:
            number = self._number_by_host[host.name] = len(self._hosts)
            self._hosts.append(host.name)
        return number

    def _forget(self, count: int) -> None:
        self._first += count
        for column in (self._sent, self._arrived, self._ways, self._sizes, self._connections):
            del column[:count]


class RecordedSocket(Socket):
    """A socket whose messages are noted."""

    __slots__ = ("_arrived_bytes", "_end", "_reset", "_tape", "_under_way")

    def __init__(self, tape: Tape, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tape = tape
        self._under_way: deque[tuple[int, int]] = deque()  # (bytes sent with it, number)
        self._arrived_bytes = 0  # of ours, at the peer
        self._end = self._reset = _NEVER

    def send_now(self, data: bytes) -> bool:
        if not super().send_now(data):
            return False
        number = self._tape.record(self.clock.now_ns, self, len(data), MessageKind.DATA)
        self._under_way.append((self.sent, number))
        return True

    def arrive(self, data: bytes) -> None:
        # What meets a host without power is sent again.
        if not self.dead:
            self._note_arrival(self.peer, len(data))
        super().arrive(data)

    def send_end(self) -> None:
        if not self.eof_sent:
            self._end = self._tape.record(self.clock.now_ns, self, 0, MessageKind.END)
        super().send_end()

    def arrive_end(self, nothing: object) -> None:
        if not self.dead and isinstance(self.peer, RecordedSocket):
            self._tape.arrive(self.peer._end, self.clock.now_ns)
        super().arrive_end(nothing)

    def arrive_reset(self, nothing: object) -> None:
        if self.error is None and isinstance(self.peer, RecordedSocket):
            self._tape.arrive(self.peer._reset, self.clock.now_ns)
        super().arrive_reset(nothing)

    def _reset_peer(self) -> None:
        self._reset = self._tape.record(self.clock.now_ns, self, 0, MessageKind.RESET)
        super()._reset_peer()

    def _note_arrival(self, sender: Socket, size: int) -> None:
        """Bytes of one direction come in order, though perhaps cut differently."""
        assert isinstance(sender, RecordedSocket)
        arrived = sender._arrived_bytes = sender._arrived_bytes + size
        under_way = sender._under_way
        while under_way and under_way[0][0] <= arrived:
            self._tape.arrive(under_way.popleft()[1], self.clock.now_ns)


class RecordedHandshake(Handshake):
    """A handshake whose segments are noted."""

    def __init__(self, tape: Tape, *arguments: Any) -> None:
        self._tape = tape
        self._syn = self._answer = _NEVER
        super().__init__(*arguments)

    def _send_syn(self, nothing: object) -> None:
        before = self._tries
        super()._send_syn(nothing)
        if self._tries > before:
            self._syn = self._tape.record(self._clock.now_ns, self._client, 0, MessageKind.SYN)

    def _arrive_syn(self, nothing: object) -> None:
        if self._server_host.up:
            self._tape.arrive(self._syn, self._clock.now_ns)
            listening = self._server_host.listener_at(self._address) is not None
            kind = MessageKind.SYN_ACK if listening else MessageKind.REFUSED
            self._answer = self._tape.record(self._clock.now_ns, self._server, 0, kind)
        super()._arrive_syn(nothing)

    def _arrive_syn_ack(self, nothing: object) -> None:
        self._tape.arrive(self._answer, self._clock.now_ns)
        super()._arrive_syn_ack(nothing)

    def _arrive_refusal(self, error: Any) -> None:
        self._tape.arrive(self._answer, self._clock.now_ns)
        super()._arrive_refusal(error)


def record_messages(network: SimNetwork) -> Tape:
    """Record everything between hosts from now on; nothing may have been connected yet."""
    tape = Tape()

    def make_socket(network: SimNetwork, path: Path, *addresses: Address) -> Socket:
        return Socket(network, path, *addresses) if path.loopback else RecordedSocket(tape, network, path, *addresses)

    def make_handshake(network: SimNetwork, client: NetworkHost, server: NetworkHost, *rest: Any) -> Handshake:
        if client is server:
            return Handshake(network, client, server, *rest)
        return RecordedHandshake(tape, network, client, server, *rest)

    network.make_socket, network.make_handshake = make_socket, make_handshake
    return tape
