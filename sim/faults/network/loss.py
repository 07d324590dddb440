"""`loss`: a share of the segments is lost. Under TCP that is a stall, for retransmission; lost SYNs take a second or more."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys
from sim.network.rules import Loss as Rule
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
        share = entry.cursors["share"].percent() if "share" in entry else 0.0
        return cls(sides=entry.sides(cls.word), oneway=entry.flag("oneway"), share=share)

    def rule(self, mesh: "SimulatedMesh") -> Rule:
        return Rule(between=self.between(mesh), probability=self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.001, 0.5)}
