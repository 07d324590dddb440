"""`clock-drift`: clocks run too fast or too slowly, and are wrong by more and more; NTP sets them right when it is over.

`rate: 0.02%` is 200 ppm too fast, about what a bad quartz does; `rate: -5%` is a virtual machine that loses ticks.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.hosts.clock_fault import ClockFault
from sim.faults.hosts.host_fault import drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import text
from sim.scenario.verb_entry import VerbEntry
from sim.wall_clock import ClockError

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host


@attrs.frozen(kw_only=True)
class ClockDrift(ClockFault):
    """Let clocks run at a wrong rate."""

    word: ClassVar = "clock-drift"
    about: ClassVar = "let clocks run at a wrong rate"
    keys: ClassVar = host_keys("clock-drift", rate=text("a percentage, with a sign where it is too slow: 0.02%, -5%"))
    required: ClassVar = ("rate",)

    rate: float

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        return cls(target=target, zone=zone, rate=entry.cursors["rate"].change() if "rate" in entry else 1.0)

    def error(self, mesh: "SimulatedMesh", name: str, host: "Host") -> ClockError:
        begin_s, rate = mesh.world.now(), self.rate
        return lambda now_s: (now_s - begin_s) * rate

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sign = "-" if draw.place % 2 else ""
        return {cls.word: drawn_target(draw), "rate": sign + draw.share(0.0001, 1.0)}
