"""`bandwidth`: what crosses has to share a narrow line: a backup that fills the uplink, a throttled cloud instance, a bad
duplex.

`to` is the line's rate in each direction. Bytes that wait are a queue: endless, so that latency grows without a loss
(bufferbloat), or of `queue` bytes, beyond which segments are lost and TCP stalls to send them again. `each`: every pair of
hosts has a line of this rate for itself, as when the limit is the instance's and not the link's. TCP's congestion control is
not modelled.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.delays import Throttle
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref, text
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Bandwidth(LinkFault):
    """Narrow the line between two sides."""

    word: ClassVar = "bandwidth"
    about: ClassVar = "narrow the line between two sides"
    keys: ClassVar = link_keys(
        "bandwidth",
        to=text("bits per second: 1Mbit", r"^\d+(\.\d+)?(bit|kbit|Mbit|Gbit)(/s)?$"),
        queue=ref("size") | {"description": "how many bytes wait before segments are lost"},
        each=FLAG | {"description": "each pair of hosts has this rate for itself"},
    )
    required: ClassVar = ("to",)

    bytes_per_s: float
    queue_bytes: int | None = None
    each: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        to, queue = entry.get("to"), entry.get("queue")
        return cls(
            **link_place(entry, cls.word),
            bytes_per_s=to.bandwidth() if to is not None else 1.0,
            queue_bytes=queue.size() if queue is not None else None,
            each=entry.flag("each"),
        )

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Throttle:
        return Throttle(
            between=between, bytes_per_s=self.bytes_per_s, shared=not self.each, queue_bytes=self.queue_bytes
        )

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "to": f"{draw.between(100_000, 50):.0f}kbit"}
