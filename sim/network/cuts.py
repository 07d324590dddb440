"""Rules under which segments do not get through: lost or kept, all of them or some kinds.

A sender cannot tell them apart: TCP retransmits after 200 ms, 400 ms, 800 ms and so on until the rule is lifted or 15 minutes
are over. Nobody sees a reset; who waits sees silence, and only timeouts of the application or of the mesh end that.
"""

import enum

import attrs

from mesh.model.randomness import Random
from sim.network.rules import DROP, HOLD, PASS, Between, Kind, Segment, Verdict

_OPENING = (Kind.SYN, Kind.SYN_ACK)


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


class Swallows(enum.Enum):
    """Which connections a blackhole takes from."""

    ALL = "all"
    NEW = "new"  # SYNs and their answers
    ESTABLISHED = "established"


@attrs.frozen(kw_only=True)
class Blackhole:
    """Segments vanish and nothing is answered: of some connections, or those with more than `larger_than` bytes.

    The latter is a path whose MTU is smaller than its ends believe while ICMP is filtered: handshakes and small requests
    work, large ones never arrive, however often they are sent again.
    """

    between: Between
    swallows: Swallows = Swallows.ALL
    larger_than: int = -1

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Lose what is concerned."""
        opening = segment.kind in _OPENING
        concerned = self.swallows is Swallows.ALL or (self.swallows is Swallows.NEW) == opening
        return DROP if concerned and segment.size > self.larger_than else PASS


CUTS = (Partition, Hold, Blackhole)  # rules under which two ends may not reach each other at all
