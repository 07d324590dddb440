"""`partition`: nothing gets through between two sides, as when a switch dies or a firewall rule goes wrong.

Two-sided, `oneway` (requests are lost, answers would still come: a bad route in one direction), by zone, by service, or of
one `port` only, so that the mesh's data flow is cut while the control plane is reached, or the other way round. Connections
stay open: TCP retransmits what was sent after 200 ms, 400 ms, 800 ms and so on, so that it arrives some time after the
partition is over, in order; after 15 minutes the sender gives up. New connections fail after 127 s, if nobody gives up
before. In a mesh, requests end by their timeouts, and connections that are believed to be good wait in the pools.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.cuts import Partition as Rule
from sim.network.rules import Between
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
        return cls(**link_place(entry, cls.word))

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "oneway": draw.strength < 5}
