"""Bytes that arrive otherwise than they were written, as TCP is allowed to: in pieces, or together with the next ones."""

import attrs

from mesh.model.randomness import Random
from sim.clock import NS_PER_S
from sim.network.rules import PASS, PROBABILITY, Action, Between, Kind, Segment, Verdict

_GAP_NS_MAX = NS_PER_S // 10_000
_LINGER_NS_MAX = NS_PER_S // 500


@attrs.frozen(kw_only=True)
class Fragment:
    """A share of the segments with data comes in two pieces (the first of one byte, or cut anywhere) or lingers up to 2 ms.

    What lingers is read in one go with what was sent behind it.
    """

    between: Between
    probability: float = attrs.field(validator=PROBABILITY)

    def judge(self, segment: Segment, random: Random) -> Verdict:
        """Cut or keep back some."""
        if segment.kind is not Kind.DATA or random.random() >= self.probability:
            return PASS
        way, gap_ns = random.random(), round(random.random() * _GAP_NS_MAX)
        if segment.size < 2 or way < 1 / 3:
            return Verdict(Action.DELAY, round(random.random() * _LINGER_NS_MAX) + 1)
        cut = 1 if way < 2 / 3 else 1 + int(random.random() * (segment.size - 1))
        return Verdict(Action.DELAY, cut=cut, gap_ns=gap_ns)
