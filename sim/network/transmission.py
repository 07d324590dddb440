"""What happens to segments that do not simply pass: rules, bandwidth, loss, dead peers, retransmission, late arrivals.

What an established connection does when the network fails it, as Linux does it:
- Lost: the first segment that does not get through blocks its direction; it is sent again 200 ms, 400 ms, 800 ms and so on
  (at most 120 s) later, and with the first that gets through comes all that was written behind it. So a fault's end is felt
  up to as long again as the fault has lasted. After 924.6 s the sender fails with a timeout; its peer learns nothing.
- The other direction goes on. What its reader acknowledges is lost with the rest, so its sender stops at a full window.
- Nothing is felt by who only reads: no keep-alives are sent, as is the default. Deadlines are the application's.
- Reset: both ends fail, or the sender alone; what arrived before can still be read. Resets are never sent again: one that is
  lost leaves the peer half-open, until it writes and is reset by whoever is there.
- A host that lost power swallows everything; when it is back, it resets what is sent to connections of its former life.
Not modelled: selective acknowledgement and fast retransmit (requests are a segment or two), round-trip estimation, and that a
sender whose acknowledgements alone are lost gives up after a quarter of an hour.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING, Any

from mesh.model.errors import BrokenConnection
from sim.network.retransmission import GIVE_UP_NS, rto_ns, stall_ns
from sim.network.rules import DROP, PASS, Action, Kind, Segment, Verdict, judge

if TYPE_CHECKING:
    from sim.network.socket import Socket

Deliver = Callable[[Any], None]
_REPEATED = (Kind.DATA, Kind.FIN, Kind.ESTABLISHED)  # A loss only delays these; the others are their sender's care.


class Item:
    """A segment on its way: at its arrival `deliver(argument)` is called."""

    __slots__ = ("argument", "deliver", "kind", "position", "size")

    def __init__(self, kind: Kind, deliver: Deliver, argument: Any, size: int, position: int) -> None:
        self.kind = kind
        self.deliver = deliver
        self.argument = argument
        self.size = size
        self.position = position


class Backlog:
    """What a direction has sent and cannot get through, oldest first."""

    __slots__ = ("items", "lost_in_flight", "since_ns", "tries")

    def __init__(self, now_ns: int) -> None:
        self.items: deque[Item] = deque()
        self.lost_in_flight = 0  # how many of the first items were under way when their target died
        self.since_ns = now_ns
        self.tries = 0


def cross(socket: "Socket", kind: Kind, size: int, position: int = 0) -> Verdict:
    """Decide how something travels from this end to its peer: with `delay_ns` for PASS and DELAY, which include the latency."""
    path = socket.path
    verdict = PASS
    if path.rules:
        verdict = judge(path.rules, _segment(socket, kind, size, position))
        if verdict.action not in (Action.PASS, Action.DELAY):
            return verdict
    link_ns = _link_ns(socket, kind, size)
    if link_ns is None:
        return DROP
    if path.pipe is not None:
        for _ in range(verdict.copies):
            path.pipe.delay_ns(size, socket.clock.now_ns)
    return Verdict(Action.DELAY, verdict.delay_ns + link_ns, cut=verdict.cut, gap_ns=verdict.gap_ns)


def _link_ns(socket: "Socket", kind: Kind, size: int) -> int | None:
    """Draw how long the link alone takes, with the stalls of what TCP retransmits by itself; None for what is lost."""
    path = socket.path
    delay_ns = 0
    # Acknowledgements are not lost: the next one says it all.
    if path.loss and kind is not Kind.ACK and path.loses(size, random := socket.make_random()):
        stall = stall_ns(lambda: path.loses(size, random), losses=1) if kind in _REPEATED else None
        if stall is None:
            return None
        delay_ns = stall
    if path.pipe is not None:
        delay_ns += path.pipe.delay_ns(size, socket.clock.now_ns)
    if path.constant_ns >= 0:
        delay_ns += path.constant_ns
    elif kind is Kind.ACK:
        delay_ns += path.nominal_ns
    else:
        delay_ns += path.sample_ns(socket.make_random())
    return delay_ns


def emit(socket: "Socket", kind: Kind, deliver: Deliver, argument: Any, size: int) -> None:
    """Send something that must arrive, after all that was sent before. Its bytes are counted in `sent` already."""
    backlog = socket.backlog
    blocked: Verdict | None = None
    if backlog is None and not socket.path.rules and not socket.peer.dead:
        link_ns = _link_ns(socket, kind, size)
        if link_ns is not None:
            _schedule(socket, link_ns, deliver, argument)
            return
        blocked = DROP
    item = Item(kind, deliver, argument, size, socket.sent - size)
    if backlog is not None:
        backlog.items.append(item)
        return
    blocked = blocked or _launch(socket, item)
    if blocked is not None:
        socket.backlog = backlog = Backlog(socket.clock.now_ns)
        backlog.items.append(item)
        _wait(socket, backlog, blocked, backlog.since_ns)


def acknowledge(socket: "Socket") -> None:
    """Tell the peer how much was read, so that it may send on."""
    socket.ack_at = socket.consumed + socket.window_bytes // 8
    path = socket.path
    if not path.plain:
        if not socket.ack_pending:
            _try_acknowledgement((socket, 0))
        return
    clock = socket.clock
    clock.sequence = sequence = clock.sequence + 1
    heappush(clock.heap, (clock.now_ns + path.nominal_ns, sequence, socket.peer.credit, socket.consumed))


def send_reset(socket: "Socket") -> bool:
    """Reset the peer. A reset is never retransmitted. Returns whether it is on its way."""
    verdict = cross(socket, Kind.RST, 0)
    if verdict.action is not Action.DELAY:
        return False
    _schedule(socket, verdict.delay_ns, socket.peer.arrive_reset, None)
    return True


def arrive_late(socket: "Socket", kind: Kind, deliver: Deliver, argument: Any, size: int) -> None:
    """Handle an arrival at an end that is dead, closed or broken."""
    if socket.dead and not socket.path.source.up:
        _lose(socket.peer, Item(kind, deliver, argument, size, 0))
    elif kind is Kind.FIN and not socket.dead:
        return  # Both have closed.
    elif socket.clock.now_ns < socket.linger_until_ns:
        socket.consumed += size
        if socket.consumed >= socket.ack_at:
            acknowledge(socket)
    elif not send_reset(socket):
        # The sender never hears of it, so for it the segment counts as lost.
        _lose(socket.peer, Item(kind, deliver, argument, size, 0))


def _segment(socket: "Socket", kind: Kind, size: int, position: int) -> Segment:
    return Segment(
        kind=kind,
        source=socket.path.source,
        target=socket.path.target,
        size=size,
        position=position,
        server_port=socket.server_port,
        connection=socket.number,
        opened_ns=socket.opened_ns,
        quiet_since_ns=max(socket.opened_ns, socket.last_due_ns, socket.peer.last_due_ns),
        now_ns=socket.clock.now_ns,
    )


def _schedule(socket: "Socket", delay_ns: int, deliver: Deliver, argument: Any) -> None:
    """Let something arrive after a delay, but not before what was sent before it."""
    clock = socket.clock
    due_ns = clock.now_ns + delay_ns
    if due_ns < socket.last_due_ns:
        due_ns = socket.last_due_ns
    socket.last_due_ns = due_ns
    clock.push(due_ns, deliver, argument)


def _launch(socket: "Socket", item: Item) -> Verdict | None:
    """Put an item on the wire; return what blocks it, if anything does."""
    if socket.peer.dead and not socket.path.target.up:
        return DROP
    verdict = cross(socket, item.kind, item.size, item.position)
    if verdict.action is Action.RESET:
        if verdict.cut:
            _schedule(socket, socket.path.nominal_ns, item.deliver, item.argument[: verdict.cut])
        _break(socket, verdict)
    elif verdict.action is not Action.DELAY:
        return verdict
    elif 0 < verdict.cut < item.size:
        _schedule(socket, verdict.delay_ns, item.deliver, item.argument[: verdict.cut])
        _schedule(socket, verdict.delay_ns + verdict.gap_ns, item.deliver, item.argument[verdict.cut :])
    else:
        _schedule(socket, verdict.delay_ns, item.deliver, item.argument)
    return None


def _break(socket: "Socket", verdict: Verdict) -> None:
    """Reset both ends, or the sender alone, which hears of it after the way to whoever resets."""
    if verdict.both:
        _schedule(socket, socket.path.nominal_ns, socket.peer.arrive_reset, None)
        socket.arrive_reset(None)
    else:
        socket.clock.push(socket.clock.now_ns + socket.path.nominal_ns, socket.arrive_reset, None)


def _wait(socket: "Socket", backlog: Backlog, blocked: Verdict, sent_ns: int) -> None:
    """Try again when the network lets go of what it holds, or when the retransmission timer of the last try is over."""
    if blocked.by is not None:
        blocked.by.releases.append(lambda: _retry((socket, backlog)))
    else:
        socket.clock.push(sent_ns + rto_ns(backlog.tries), _retry, (socket, backlog))


def _retry(entry: "tuple[Socket, Backlog]") -> None:
    socket, backlog = entry
    if socket.backlog is not backlog:
        return
    now_ns = socket.clock.now_ns
    if now_ns - backlog.since_ns >= GIVE_UP_NS:
        socket.backlog = None
        socket.fail(lambda: BrokenConnection("connection timeout"))
        return
    backlog.tries += 1
    while backlog.items:
        blocked = _launch(socket, backlog.items[0])
        if socket.backlog is not backlog:
            return  # It was reset.
        if blocked is not None:
            _wait(socket, backlog, blocked, now_ns)
            return
        backlog.items.popleft()
        backlog.lost_in_flight = max(0, backlog.lost_in_flight - 1)
        backlog.since_ns, backlog.tries = now_ns, 0
    socket.backlog = None


def _lose(socket: "Socket", item: Item) -> None:
    """Give a segment that reached nobody back to its sender, for retransmission."""
    if socket.dead or (socket.error is not None and not socket.closed):
        return
    backlog = socket.backlog
    if backlog is None:
        socket.backlog = backlog = Backlog(socket.clock.now_ns - socket.path.nominal_ns)
        _wait(socket, backlog, DROP, backlog.since_ns)
    backlog.items.insert(backlog.lost_in_flight, item)
    backlog.lost_in_flight += 1


def _try_acknowledgement(entry: "tuple[Socket, int]") -> None:
    """Send a window update through the rules; while it is lost, the peer's probes provoke another."""
    socket, tries = entry
    socket.ack_pending = False
    if socket.error is not None and not socket.closed:
        return
    verdict = cross(socket, Kind.ACK, 0)
    if verdict.action is Action.DELAY:
        socket.clock.push(socket.clock.now_ns + verdict.delay_ns, socket.peer.credit, socket.consumed)
    elif verdict.action is Action.RESET:
        _break(socket, verdict)
    else:
        socket.ack_pending = True
        socket.clock.push(socket.clock.now_ns + rto_ns(tries), _try_acknowledgement, (socket, tries + 1))
