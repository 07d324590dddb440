"""Rules that end connections, or forget them: what middleboxes, overloaded hosts and restarted peers do to TCP."""

import attrs

from mesh.model.randomness import Random
from sim.network.rules import DROP, PASS, PROBABILITY, RESET, Action, Between, Kind, Segment, Verdict

_OF_NEW = (Kind.SYN, Kind.SYN_ACK, Kind.DATAGRAM)
_RESET_SENDER = Verdict(Action.RESET, both=False)


@attrs.frozen(kw_only=True)
class Reset:
    """Established connections are reset while they carry data: both ends see it, as when a middlebox sends RSTs.

    A connection lives until a direction of it has carried `after_bytes` and one more; what comes up to there arrives. With
    `whole`, the segment that crosses this mark arrives in full, so that the reset falls between two messages: the server
    has the request, and its client will never know. `probability` is drawn for each segment from the mark on.
    """

    between: Between
    probability: float = attrs.field(default=1.0, validator=PROBABILITY)
    after_bytes: int = 0
    whole: bool = False

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Reset on data only."""
        if segment.kind is not Kind.DATA or segment.position + segment.size <= self.after_bytes:
            return PASS
        if self.probability < 1.0 and random.random() >= self.probability:
            return PASS
        cut = segment.size if self.whole else self.after_bytes - segment.position
        return Verdict(Action.RESET, cut=cut) if cut > 0 else RESET


@attrs.frozen(kw_only=True)
class Refuse:
    """New connections are refused; established ones live on."""

    between: Between
    probability: float = attrs.field(default=1.0, validator=PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Refuse SYNs only."""
        if segment.kind is not Kind.SYN:
            return PASS
        return RESET if self.probability >= 1.0 or random.random() < self.probability else PASS


@attrs.frozen(kw_only=True)
class Forget:
    """A middlebox forgets connections: those opened before `opened_before_ns`, or in silence for longer than `idle_ns`.

    Both ends believe in them until one sends. Then the sender, and nobody else, gets a reset; `silent`: nothing at all, so
    that it retransmits until something times out. The other end hears of it when it sends itself.
    """

    between: Between
    opened_before_ns: int = -1
    idle_ns: int = -1
    silent: bool = False

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Let pass what belongs to a connection that is still known, or to a new one."""
        if segment.kind in _OF_NEW:
            return PASS
        forgotten = segment.opened_ns < self.opened_before_ns or (
            self.idle_ns >= 0 and segment.now_ns - segment.quiet_since_ns > self.idle_ns
        )
        if not forgotten:
            return PASS
        return DROP if self.silent else _RESET_SENDER
