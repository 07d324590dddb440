"""`hold`: the network jams between two sides, and lets everything go at once when it is over: a live migration, a switch that
reloads with full buffers, a stateful firewall that fails over.

What is on its way when it begins still arrives. Then the first segment of each direction waits, and all behind it; nothing is
lost, so nothing is sent again. SYNs are lost instead, and repeated after 1, 2, 4 s. At the end it all arrives within a round
trip: answers to requests that were given up, and a burst of work that somebody may not want any more.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.cuts import Hold as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Hold(LinkFault):
    """Keep everything between two sides, then release it."""

    word: ClassVar = "hold"
    about: ClassVar = "keep everything between two sides, then release it at once"
    keys: ClassVar = link_keys("hold")

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(**link_place(entry, cls.word))

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "oneway": draw.strength < 5}
