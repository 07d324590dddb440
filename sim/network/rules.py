"""Faults of the network: each is a rule, and one chain of rules judges every segment. The rules are in the files beside this.

Rules are asked in the order in which they were added. Delays add up; the first other verdict ends the chain.
- DELAY: the segment takes longer, and those behind it wait: order within a direction never changes. It may come in two
  pieces, or with a copy that only takes bandwidth. Datagrams have no order; of them, copies arrive as well.
- HOLD: the network keeps the segment, and all behind it, until the rule is lifted, then delivers them. For a SYN it is DROP.
- DROP: the segment is lost. TCP retransmits it after 200 ms, 400 ms, 800 ms and so on, and gives up after 15 minutes; so a
  partition is a stall that ends some time after it is lifted. A lost SYN is repeated after 1, 2, 4 s and so on, for 127 s.
  A datagram is gone.
- RESET: both ends see a reset, or its sender alone; a SYN is refused; a datagram is gone.
Each rule draws from its own stream of chance, so that lifting one leaves the draws of the others alone.
"""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from mesh.model.randomness import Random

if TYPE_CHECKING:
    from sim.network.host import NetworkHost

PROBABILITY = [attrs.validators.ge(0.0), attrs.validators.le(1.0)]


class Kind(enum.Enum):
    """What a segment is for."""

    SYN = "syn"
    SYN_ACK = "syn_ack"
    ESTABLISHED = "established"  # the client's acknowledgement that ends the handshake
    DATA = "data"
    ACK = "ack"
    FIN = "fin"
    RST = "rst"
    DATAGRAM = "datagram"


class Action(enum.Enum):
    """What becomes of a segment."""

    PASS = "pass"
    DELAY = "delay"
    HOLD = "hold"
    DROP = "drop"
    RESET = "reset"


@attrs.frozen
class Verdict:
    """One rule's, or the whole chain's, decision."""

    action: Action
    delay_ns: int = 0
    by: "InstalledRule | None" = None  # who held
    copies: int = 0  # of what was delayed, even by nothing
    cut: int = 0  # the first bytes that arrive by themselves: of what was delayed; of what is reset, the only ones
    gap_ns: int = 0  # between the first bytes and the others
    both: bool = True  # of a reset: the peer sees it, too


PASS = Verdict(Action.PASS)
HOLD = Verdict(Action.HOLD)
DROP = Verdict(Action.DROP)
RESET = Verdict(Action.RESET)


@attrs.frozen(kw_only=True)
class Segment:
    """What a rule sees of something on its way from source to target."""

    kind: Kind
    source: "NetworkHost"
    target: "NetworkHost"
    size: int  # payload bytes
    position: int  # payload bytes that went before it in this direction
    server_port: int
    connection: int  # number among the connections of this client and server; 0 for datagrams
    opened_ns: int  # when the connection's first SYN left
    quiet_since_ns: int  # when the last segment of either direction arrives or arrived
    now_ns: int


@attrs.frozen(kw_only=True)
class Between:
    """Which segments a rule concerns: names of hosts or zones on each side (none: any), and the server's port.

    What a host sends to itself only where `loopback` says so.
    """

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    both_ways: bool = True
    port: int | None = None
    loopback: bool = False

    def leads(self, source: "NetworkHost", target: "NetworkHost") -> bool:
        """Say whether something from source to target goes in the rule's own direction, and not back."""
        return _names(self.source, source) and _names(self.target, target)

    def crosses(self, source: "NetworkHost", target: "NetworkHost") -> bool:
        """Say whether something from source to target is concerned, but for the port."""
        return self.leads(source, target) or (self.both_ways and self.leads(target, source))


def _names(names: tuple[str, ...], host: "NetworkHost") -> bool:
    return not names or host.name in names or host.zone in names


class Rule(Protocol):
    """A fault of the network."""

    @property
    def between(self) -> Between:
        """Where it lies."""
        ...

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Decide about a segment that lies within `between`; `random` is this rule's for this pair of hosts."""
        ...


class InstalledRule:
    """A rule at work: when it was armed, whether it is active, how many segments it touched. Lift it with `remove`.

    As a context manager it is lifted at the end of the block.
    """

    def __init__(
        self,
        rule: Rule,
        name: str,
        armed_at_s: float,
        make_random: Callable[[str, str, str], Random],
        on_bit: Callable[["InstalledRule"], object],
        on_remove: Callable[["InstalledRule"], None],
    ) -> None:
        self.rule = rule
        self.name = name
        self.armed_at = armed_at_s
        self.active = True
        self.hits = 0
        self._make_random = make_random
        self._on_bit = on_bit  # called at the first hit
        self._on_remove = on_remove
        self._random_by_pair: dict[tuple[str, str], Random] = {}
        self._spared: frozenset[str] = frozenset()
        self.releases: list[Callable[[], None]] = []  # what waits for the end of this rule's HOLD, oldest first

    def judge(self, segment: Segment) -> Verdict:
        """Ask the rule and count what it touched."""
        between = self.rule.between
        if between.port is not None and between.port != segment.server_port:
            return PASS
        if self._spared and segment.source.name in self._spared and segment.target.name in self._spared:
            return PASS
        pair = segment.source.name, segment.target.name
        random = self._random_by_pair.get(pair)
        if random is None:
            random = self._random_by_pair[pair] = self._make_random(self.name, *pair)
        verdict = self.rule.judge(segment, random)
        if verdict.action is not Action.PASS:
            self.hits += 1
            if self.hits == 1:
                self._on_bit(self)
        return verdict

    def spare(self, hosts: frozenset[str]) -> None:
        """Leave what goes between any two of these hosts alone from now on; what was held is delivered."""
        self._spared = hosts
        self._release()

    def remove(self) -> None:
        """Lift the rule; safe to repeat."""
        if self.active:
            self.active = False
            self._on_remove(self)
            self._release()

    def _release(self) -> None:
        releases, self.releases = self.releases, []
        for release in releases:
            release()

    def __enter__(self) -> "InstalledRule":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def judge(rules: tuple[InstalledRule, ...], segment: Segment) -> Verdict:
    """Run the chain."""
    delay_ns = copies = cut = gap_ns = 0
    for installed in rules:
        verdict = installed.judge(segment)
        if verdict.action is Action.DELAY:
            delay_ns += verdict.delay_ns
            copies += verdict.copies
            if verdict.cut:
                cut, gap_ns = verdict.cut, verdict.gap_ns
        elif verdict.action is Action.HOLD:
            return Verdict(Action.HOLD, by=installed)
        elif verdict.action is not Action.PASS:
            return verdict
    if not (delay_ns or copies or cut):
        return PASS
    return Verdict(Action.DELAY, delay_ns, copies=copies, cut=cut, gap_ns=gap_ns)
