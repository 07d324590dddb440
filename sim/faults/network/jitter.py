"""`jitter`: latency wanders between nothing and `by` on top: a shared radio, a loaded hypervisor, a queue that fills and drains.

Each direction between two hosts has a value of its own, drawn anew for each segment; with `correlation` a draw leans on the one
before it, so that slow and fast stretches last. Order within a connection is kept: see `reorder` for what overtakes.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.delays import Jitter as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Jitter(LinkFault):
    """Let the latency between two sides wander."""

    word: ClassVar = "jitter"
    about: ClassVar = "let the latency between two sides wander"
    keys: ClassVar = link_keys("jitter", by=ref("span"), correlation=ref("percent"))
    required: ClassVar = ("by",)

    by_s: float
    correlation: float = 0.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        by, correlation = entry.get("by"), entry.get("correlation")
        return cls(
            **link_place(entry, cls.word),
            by_s=by.span(positive=True) if by is not None else 1.0,
            correlation=correlation.percent() if correlation is not None else 0.0,
        )

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, span_s=self.by_s, correlation=self.correlation)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "by": draw.span(0.001, 0.5)}
