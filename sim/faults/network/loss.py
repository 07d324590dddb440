"""`loss`: a share of the segments is lost, as on a bad cable, a radio, or a link that is over its capacity.

Under TCP that is latency: what was lost comes with the retransmission, after 200 ms, then 400 ms and so on (no fast
retransmit is modelled: requests are a segment or two, too short for it), and what follows waits for it. Lost SYNs take a
second or more. Of DNS, questions and answers are really lost: the resolver is asked again after 5 s.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.delays import Loss as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Loss(LinkFault):
    """Lose a share of the segments between two sides."""

    word: ClassVar = "loss"
    about: ClassVar = "lose a share of the segments"
    keys: ClassVar = link_keys("loss", share=ref("percent"))
    required: ClassVar = ("share",)

    share: float

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(**link_place(entry, cls.word), share=share_of(entry, 0.0))

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, probability=self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.001, 0.5)}
