"""Rules that delay segments, or lose and copy them as a bad line does. Under TCP all of that is latency.

A stream's bytes never change their order: a late segment holds up those behind it. A lost one is sent again after TCP's
timeout, and a copied one takes its share of the bandwidth twice and is thrown away. Datagrams (DNS) are really lost, doubled
or overtaken.
"""

import attrs

from mesh.model.randomness import Random
from sim.clock import NS_PER_S
from sim.network.latency import Latency, Sampler
from sim.network.links import Pipe
from sim.network.retransmission import stall_ns
from sim.network.rules import DROP, PASS, PROBABILITY, Action, Between, Kind, Segment, Verdict

_RETRANSMITTED = (Kind.ESTABLISHED, Kind.DATA, Kind.FIN)
_COPIED = Verdict(Action.DELAY, copies=1)


@attrs.define(kw_only=True, eq=False)
class SlowLink:
    """Latency on top of the link's, for a share of the segments: below 1, spikes."""

    between: Between
    extra: Latency
    probability: float = attrs.field(default=1.0, validator=PROBABILITY)
    _sampler: Sampler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sampler = self.extra.sampler()

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by a draw."""
        if self.probability < 1.0 and random.random() >= self.probability:
            return PASS
        return Verdict(Action.DELAY, self._sampler(random))


@attrs.define(kw_only=True, eq=False)
class Jitter:
    """Latency that wanders: between 0 and `span_s` more, each draw leaning on the one before it in its direction.

    Source: tc-netem(8): value = draw * (1 - correlation) + last * correlation.
    """

    between: Between
    span_s: float = attrs.field(validator=attrs.validators.gt(0.0))
    correlation: float = attrs.field(default=0.0, validator=PROBABILITY)
    _last_by_pair: dict[tuple[str, str], float] = attrs.field(factory=dict, init=False)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by the next value."""
        pair = segment.source.name, segment.target.name
        last = self._last_by_pair.get(pair)
        drawn = random.random()
        value = drawn if last is None else drawn * (1.0 - self.correlation) + last * self.correlation
        self._last_by_pair[pair] = value
        return Verdict(Action.DELAY, round(value * self.span_s * NS_PER_S))


@attrs.frozen(kw_only=True)
class Loss:
    """Segments are lost with a probability."""

    between: Between
    probability: float = attrs.field(validator=PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Lose some. For what TCP retransmits that is a stall; segments behind it draw for themselves meanwhile."""
        if segment.kind not in _RETRANSMITTED:
            return DROP if random.random() < self.probability else PASS
        stall = stall_ns(lambda: random.random() < self.probability)
        if stall is None:
            return DROP
        return Verdict(Action.DELAY, stall) if stall else PASS


@attrs.frozen(kw_only=True)
class Duplicate:
    """A share of the segments comes twice. The copy takes bandwidth where the link has a limit; TCP throws it away."""

    between: Between
    probability: float = attrs.field(validator=PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Copy some."""
        return _COPIED if random.random() < self.probability else PASS


@attrs.define(kw_only=True, eq=False)
class Reorder:
    """A share of the segments takes a detour: datagrams are overtaken by later ones, streams wait for what is late."""

    between: Between
    probability: float = attrs.field(validator=PROBABILITY)
    detour: Latency
    _sampler: Sampler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sampler = self.detour.sampler()

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay some."""
        return Verdict(Action.DELAY, self._sampler(random)) if random.random() < self.probability else PASS


@attrs.define(kw_only=True, eq=False)
class Throttle:
    """Less bandwidth: for each directed pair of hosts its own, or `shared` by all that cross in one direction.

    Bytes that wait for their turn are a queue. It is endless, which is latency without end (bufferbloat), or holds
    `queue_bytes` and loses what comes on top. A segment always finds room in an empty queue. TCP's congestion control is
    not modelled: a sender goes on with its window of unread bytes, and is stopped by that or by a loss.
    """

    between: Between
    bytes_per_s: float = attrs.field(validator=attrs.validators.gt(0.0))
    shared: bool = False
    queue_bytes: int | None = None
    _pipe_by_way: dict[tuple[str, str] | bool, Pipe] = attrs.field(factory=dict, init=False)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Delay by what the bytes need, after those before them."""
        if segment.size == 0:
            return PASS
        source, target = segment.source, segment.target
        way = self.between.leads(source, target) if self.shared else (source.name, target.name)
        pipe = self._pipe_by_way.get(way)
        if pipe is None:
            pipe = self._pipe_by_way[way] = Pipe(self.bytes_per_s)
        if self.queue_bytes is not None:
            waiting = pipe.waiting_bytes(segment.now_ns)
            if waiting and waiting + segment.size > self.queue_bytes:
                return DROP
        return Verdict(Action.DELAY, pipe.delay_ns(segment.size, segment.now_ns))
