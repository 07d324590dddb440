"""`latency`: what crosses takes longer, by `add` or to `set`: a detour, a full queue, a route through another continent."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.links import LatencyFloor, latency_of
from sim.faults.network.link_fault import LinkFault, link_keys
from sim.network.rules import SlowLink
from sim.scenario.distributions import Constant, Distribution
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Latency(LinkFault):
    """Change the latency between two sides: add to it, or replace it."""

    word: ClassVar = "latency"
    about: ClassVar = "change the latency between two sides"
    keys: ClassVar = link_keys("latency", add=ref("distribution"), set=ref("distribution"))

    add: Distribution | None = None
    replace: Distribution | None = None

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        sides, oneway = entry.sides(cls.word), entry.flag("oneway")
        if ("add" in entry) == ("set" in entry):
            entry.cursors[cls.word].refuse("needs either add or set", "for example add: 50ms")
            return cls(sides=sides, oneway=oneway, add=Constant(0.0))
        return cls(sides=sides, oneway=oneway, add=entry.distribution("add"), replace=entry.distribution("set"))

    def rule(self, mesh: "SimulatedMesh") -> SlowLink | LatencyFloor:
        between = self.between(mesh)
        if self.add is not None:
            return SlowLink(between=between, extra=latency_of(self.add))
        assert self.replace is not None, "one of the two is there"
        return LatencyFloor(between=between, latency=latency_of(self.replace), network=mesh.world.network)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "add": draw.span(0.005, 2.0)}
