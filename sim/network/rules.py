"""Faults of the network: each is a rule, and one chain of rules judges every segment.

Rules are asked in the order in which they were added. Delays add up; the first other verdict ends the chain.
- DELAY: the segment takes longer, and those behind it wait: order within a direction never changes.
- HOLD: the network keeps the segment, and all behind it, until the rule is lifted, then delivers them. For a SYN it is DROP.
- DROP: the segment is lost. TCP retransmits it after 200 ms, 400 ms, 800 ms and so on, and gives up after 15 minutes; so a
  partition is a stall that ends some time after it is lifted. A lost SYN is repeated after 1, 2, 4 s and so on, for 127 s.
- RESET: both ends see a reset; a SYN is refused.
Each rule draws from its own stream of chance, so that lifting one leaves the draws of the others alone.
"""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from mesh.model.randomness import Random
from sim.network.latency import Latency
from sim.network.links import Pipe
from sim.network.retransmission import stall_ns

if TYPE_CHECKING:
    from sim.network.host import NetworkHost

_PROBABILITY = [attrs.validators.ge(0.0), attrs.validators.le(1.0)]


class Kind(enum.Enum):
    """What a segment is for."""

    SYN = "syn"
    SYN_ACK = "syn_ack"
    ESTABLISHED = "established"  # the client's acknowledgement that ends the handshake
    DATA = "data"
    ACK = "ack"
    FIN = "fin"
    RST = "rst"


_RETRANSMITTED = (Kind.ESTABLISHED, Kind.DATA, Kind.FIN)


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
    connection: int  # number among the connections of this client and server
    now_ns: int


@attrs.frozen(kw_only=True)
class Between:
    """Which segments a rule concerns: names of hosts or zones on each side (none: any), and the server's port."""

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    both_ways: bool = True
    port: int | None = None

    def crosses(self, source: "NetworkHost", target: "NetworkHost") -> bool:
        """Say whether something from source to target is concerned, but for the port."""
        forth = _names(self.source, source) and _names(self.target, target)
        return forth or (self.both_ways and _names(self.source, target) and _names(self.target, source))


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


@attrs.frozen(kw_only=True)
class Partition:
    """Nothing gets through. One-way (`both_ways=False` in `between`): answers still do."""

    between: Between

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Lose everything."""
        return DROP


@attrs.frozen(kw_only=True)
class Hold:
    """The network jams: everything waits, and arrives at once when the rule is lifted."""

    between: Between

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Keep everything."""
        return HOLD


@attrs.frozen(kw_only=True)
class SlowLink:
    """Latency on top of the link's, for a share of the segments."""

    between: Between
    extra: Latency
    probability: float = attrs.field(default=1.0, validator=_PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by a draw."""
        if self.probability < 1.0 and random.random() >= self.probability:
            return PASS
        return Verdict(Action.DELAY, self.extra.sampler()(random))


@attrs.frozen(kw_only=True)
class Loss:
    """Segments are lost with a probability."""

    between: Between
    probability: float = attrs.field(validator=_PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Lose some. For what TCP retransmits that is a stall; segments behind it draw for themselves meanwhile."""
        if segment.kind not in _RETRANSMITTED:
            return DROP if random.random() < self.probability else PASS
        stall = stall_ns(lambda: random.random() < self.probability)
        if stall is None:
            return DROP
        return Verdict(Action.DELAY, stall) if stall else PASS


@attrs.define(kw_only=True, eq=False)
class Throttle:
    """Less bandwidth, for each directed pair of hosts its own."""

    between: Between
    bytes_per_s: float = attrs.field(validator=attrs.validators.gt(0.0))
    _pipe_by_pair: dict[tuple[str, str], Pipe] = attrs.field(factory=dict, init=False)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by what the bytes need, after those before them."""
        if segment.size == 0:
            return PASS
        pair = segment.source.name, segment.target.name
        pipe = self._pipe_by_pair.get(pair)
        if pipe is None:
            pipe = self._pipe_by_pair[pair] = Pipe(self.bytes_per_s)
        return Verdict(Action.DELAY, pipe.delay_ns(segment.size, segment.now_ns))


@attrs.frozen(kw_only=True)
class Reset:
    """Established connections are reset: when one sends data beyond `after_bytes`, with a probability per segment."""

    between: Between
    probability: float = attrs.field(default=1.0, validator=_PROBABILITY)
    after_bytes: int = 0

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Reset on data only."""
        if segment.kind is not Kind.DATA or segment.position + segment.size <= self.after_bytes:
            return PASS
        return RESET if self.probability >= 1.0 or random.random() < self.probability else PASS


@attrs.frozen(kw_only=True)
class Refuse:
    """New connections are refused; established ones live on."""

    between: Between
    probability: float = attrs.field(default=1.0, validator=_PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Refuse SYNs only."""
        if segment.kind is not Kind.SYN:
            return PASS
        return RESET if self.probability >= 1.0 or random.random() < self.probability else PASS


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
        on_bit: Callable[["InstalledRule"], None],
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
    delay_ns = 0
    for installed in rules:
        verdict = installed.judge(segment)
        if verdict.action is Action.DELAY:
            delay_ns += verdict.delay_ns
        elif verdict.action is Action.HOLD:
            return Verdict(Action.HOLD, by=installed)
        elif verdict.action is not Action.PASS:
            return verdict
    return Verdict(Action.DELAY, delay_ns) if delay_ns else PASS
