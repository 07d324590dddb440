"""Fault injection: errors, delays and slow answers that an inbound makes up, to see what its callers do. Pure.

Source: Envoy `extensions.filters.http.fault.v3.HTTPFault`, source/extensions/filters/http/fault/fault_filter.cc (the delay,
then the abort, each with its own chance); Kuma MeshFaultInjection makes one such filter of each entry, one behind the other.
"""

import attrs

from mesh.model.randomness import Random
from mesh.policy.authorization import PeerMatch
from mesh.policy.callers import CallerTable


@attrs.frozen(kw_only=True)
class Abort:
    """Answer with this status instead of asking the application."""

    status: int
    percent: float = attrs.field(converter=float)


@attrs.frozen(kw_only=True)
class Delay:
    """Wait before the request goes on."""

    delay_s: float
    percent: float = attrs.field(converter=float)


@attrs.frozen(kw_only=True)
class ResponseBandwidth:
    """Let the response's body through at this rate."""

    bytes_per_s: float
    percent: float = attrs.field(converter=float)


Part = ResponseBandwidth | Delay | Abort


@attrs.frozen(kw_only=True)
class Fault:
    """One entry of a policy: each part acts with its own chance, for callers that match."""

    match: PeerMatch = PeerMatch()
    abort: Abort | None = None
    delay: Delay | None = None
    response_bandwidth: ResponseBandwidth | None = None


@attrs.frozen(kw_only=True)
class DrawnFaults:
    """What one request gets, in this order. 0: not that."""

    delay_s: float = 0.0
    abort_status: int = 0
    bytes_per_s: float = 0.0  # of the response's body


@attrs.define(eq=False)
class FaultCounts:
    """What was injected. Envoy's `fault.{delays_injected,aborts_injected,response_rl_injected}` and gauge `active_faults`."""

    delays_injected: int = 0
    aborts_injected: int = 0
    response_rl_injected: int = 0
    active: int = 0  # requests under way that got a fault; whoever drew for them counts them


class FaultInjector:
    """The faults of one inbound, each for the callers that it means. Made anew when they change."""

    __slots__ = ("_callers", "counts")

    def __init__(self, faults: tuple[Fault, ...], previous: "FaultInjector | None" = None) -> None:
        """`previous`: the one that this replaces; its counts go on."""
        self.counts: FaultCounts = FaultCounts() if previous is None else previous.counts
        self._callers = CallerTable([(fault.match, _parts(fault)) for fault in faults])

    def draw(self, spiffe_id: str, sni: str, random: Random) -> DrawnFaults | None:
        """Draw for one request of a caller (see CallerTable). None: nothing is injected.

        Entries act one behind the other: delays add up, the first abort ends it, and of several rates the lowest counts.
        """
        drawn = None
        for parts in self._callers.of(spiffe_id, sni):
            for part in parts:
                if random.random() * 100.0 < part.percent:  # `random` is below 1: 100 always happens, 0 never
                    drawn = self._with(drawn or DrawnFaults(), part)
                    if drawn.abort_status:
                        return drawn
        return drawn

    def _with(self, drawn: DrawnFaults, part: Part) -> DrawnFaults:
        counts = self.counts
        match part:
            case ResponseBandwidth(bytes_per_s=rate):
                counts.response_rl_injected += 1
                return attrs.evolve(drawn, bytes_per_s=min(drawn.bytes_per_s or rate, rate))
            case Delay():
                counts.delays_injected += 1
                return attrs.evolve(drawn, delay_s=drawn.delay_s + part.delay_s)
            case Abort():
                counts.aborts_injected += 1
                return attrs.evolve(drawn, abort_status=part.status)


def _parts(fault: Fault) -> tuple[Part, ...]:
    """Return what is drawn for, in the order of the draws."""
    delay = fault.delay if fault.delay is not None and fault.delay.delay_s > 0.0 else None
    return tuple(part for part in (fault.response_bandwidth, delay, fault.abort) if part is not None)
