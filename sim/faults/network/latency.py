"""`latency`: what crosses takes longer, by `add` or to `set`: a detour, a full queue, a route through another continent.

Both are a span or a distribution; `share` below 100% gives spikes: most segments pass as ever, some take their time. Under TCP a
late segment holds up those behind it on its connection, never those of others. A handshake takes a round trip and TLS two more,
so that new connections pay several times what established ones do.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.links import LatencyFloor, latency_of
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.delays import SlowLink
from sim.network.rules import Between
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
    keys: ClassVar = link_keys("latency", add=ref("distribution"), set=ref("distribution"), share=ref("percent"))

    add: Distribution | None = None
    replace: Distribution | None = None
    share: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        place, share = link_place(entry, cls.word), share_of(entry, 1.0)
        if ("add" in entry) == ("set" in entry):
            entry.cursors[cls.word].refuse("needs either add or set", "for example add: 50ms")
            return cls(**place, add=Constant(0.0))
        return cls(**place, add=entry.distribution("add"), replace=entry.distribution("set"), share=share)

    def rule(self, mesh: "SimulatedMesh", between: Between) -> SlowLink | LatencyFloor:
        if self.add is not None:
            return SlowLink(between=between, extra=latency_of(self.add), probability=self.share)
        assert self.replace is not None, "one of the two is there"
        return LatencyFloor(
            between=between, latency=latency_of(self.replace), network=mesh.world.network, probability=self.share
        )

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "add": draw.span(0.005, 2.0)}
