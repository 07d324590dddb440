"""`refuse`: new connections are refused at once: the port is closed, a firewall rejects, the backlog is full and set to
reject.

What is connected lives on. The honest fault: callers know after one round trip, may try elsewhere, and have done nothing yet.
`share` is the share of the SYNs; `port` makes it one service of many on a host.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.breaks import Refuse as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Refuse(LinkFault):
    """Refuse a share of the new connections."""

    word: ClassVar = "refuse"
    about: ClassVar = "refuse a share of the new connections"
    keys: ClassVar = link_keys("refuse", share=ref("percent"))

    share: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(**link_place(entry, cls.word), share=share_of(entry, 1.0))

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, probability=self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.05, 1.0)}
