"""`clock-jump`: clocks leap, and leap back when it is over: a wrong NTP server, a resumed snapshot, an operator's `date`.

With `every` they leap to and fro, again and again, so that time goes backwards many times: what a date's user sees who takes
two dates and subtracts them. Source: Jepsen's nemesis "strobe".
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.hosts.clock_fault import ClockFault
from sim.faults.hosts.host_fault import drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry
from sim.wall_clock import ClockError

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host


@attrs.frozen(kw_only=True)
class ClockJump(ClockFault):
    """Let clocks leap."""

    word: ClassVar = "clock-jump"
    about: ClassVar = "let clocks leap"
    keys: ClassVar = host_keys("clock-jump", by=ref("signedSpan"), every=ref("span"))
    required: ClassVar = ("by",)

    by_s: float
    every_s: float | None = None

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        every_s = entry.cursors["every"].span(positive=True) if "every" in entry else None
        return cls(
            target=target, zone=zone, by_s=entry.cursors["by"].signed_span() if "by" in entry else 1.0, every_s=every_s
        )

    def error(self, mesh: "SimulatedMesh", name: str, host: "Host") -> ClockError:
        begin_s, by_s, every_s = mesh.world.now(), self.by_s, self.every_s
        if every_s is None:
            return lambda now_s: by_s
        return lambda now_s: 0.0 if int((now_s - begin_s) / every_s) % 2 else by_s

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sign = "-" if draw.place % 2 else ""
        keys: dict[str, Value] = {cls.word: drawn_target(draw), "by": sign + draw.span(1.0, 86400.0)}
        return keys | {"every": "2s"} if draw.strength % 3 == 2 else keys
