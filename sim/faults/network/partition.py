"""`partition`: nothing gets through between two sides, as when a switch dies or a firewall rule goes wrong.

Connections stay open; what was sent meanwhile comes with TCP's retransmissions after it is over. One-way: answers still come.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys
from sim.network.rules import Partition as Rule
from sim.scenario.draw import Draw
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Partition(LinkFault):
    """Lose everything between two sides."""

    word: ClassVar = "partition"
    about: ClassVar = "lose everything between two sides"
    keys: ClassVar = link_keys("partition")

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(sides=entry.sides(cls.word), oneway=entry.flag("oneway"))

    def rule(self, mesh: "SimulatedMesh") -> Rule:
        return Rule(between=self.between(mesh))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "oneway": draw.strength < 5}
