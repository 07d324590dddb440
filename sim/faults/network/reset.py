"""`reset`: connections that carry data are reset: an overloaded load balancer, an intrusion detector, a proxy that is killed.

`share` is the share of the segments with data at which it happens. `after` lets each direction of a connection carry so many
bytes first: what comes up to there arrives, so messages are cut in the middle. `whole: true` lets the segment arrive in full
and resets behind it, at the boundary of a frame: the server has the whole request, its client gets a reset and cannot know
whether it was served, which is what makes repeating it unsafe. Both ends see the reset. `oneway`: only what the first side
sends provokes it.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place, share_of
from sim.network.breaks import Reset as Rule
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Reset(LinkFault):
    """Reset connections that carry data."""

    word: ClassVar = "reset"
    about: ClassVar = "reset connections that carry data"
    keys: ClassVar = link_keys(
        "reset",
        share=ref("percent"),
        after=ref("size") | {"description": "bytes that each direction of a connection may carry before"},
        whole=FLAG | {"description": "the segment arrives in full: the reset falls between two frames"},
    )

    share: float = 1.0
    after_bytes: int = 0
    whole: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        after = entry.get("after")
        return cls(
            **link_place(entry, cls.word),
            share=share_of(entry, 1.0),
            after_bytes=after.size() if after is not None else 0,
            whole=entry.flag("whole"),
        )

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, probability=self.share, after_bytes=self.after_bytes, whole=self.whole)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        whole = draw.strength % 2 == 1
        return None if sides is None else {cls.word: [*sides], "share": draw.share(0.001, 0.5), "whole": whole}
