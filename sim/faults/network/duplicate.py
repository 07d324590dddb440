"""`duplicate`: a share of what crosses comes twice: a loop that spanning tree has not cut yet, a failing-over bond.

TCP throws the copy away; what stays is the bandwidth that it took, where the link has a limit (`network.links.bandwidth`).
Datagrams really come twice: of DNS, a doubled question is answered twice, and the second answer is ignored.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.delays import Duplicate as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Duplicate(LinkFault):
    """Let a share of the segments and datagrams come twice."""

    word: ClassVar = "duplicate"
    about: ClassVar = "let a share of the segments and datagrams come twice"
    keys: ClassVar = link_keys("duplicate", share=ref("percent"))
    required: ClassVar = ("share",)
    reach: ClassVar = Reach.SIMULATION

    share: float

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(**link_place(entry, cls.word), share=share_of(entry, 0.0))

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, probability=self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.01, 1.0)}
