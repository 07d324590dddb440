"""`reorder`: a share of what crosses takes a detour of `by` and is overtaken: packets spread over paths of unequal length.

TCP puts segments in order again, so its readers see only that bytes come late, all that follow them too. Datagrams stay in
disorder: a late answer of DNS may come after the question was given up, or after that to the question asked again.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.links import latency_of
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.delays import Reorder as Rule
from sim.network.rules import Between
from sim.scenario.distributions import Constant, Distribution
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Reorder(LinkFault):
    """Send a share of the segments and datagrams on a detour."""

    word: ClassVar = "reorder"
    about: ClassVar = "send a share of the segments and datagrams on a detour"
    keys: ClassVar = link_keys("reorder", share=ref("percent"), by=ref("distribution"))
    required: ClassVar = ("share", "by")
    reach: ClassVar = Reach.SIMULATION

    share: float
    by: Distribution

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        by = entry.distribution("by") or Constant(0.0)
        return cls(**link_place(entry, cls.word), share=share_of(entry, 0.0), by=by)

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, probability=self.share, detour=latency_of(self.by))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.01, 0.5), "by": "50ms"}
