"""`clock-skew`: clocks are wrong by a fixed amount, as where NTP has never worked; right again when it is over.

`by: 90s` is ahead, `by: -90s` behind. `spread: true`: each host is wrong by an amount of its own, up to `by` in either direction.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.hosts.clock_fault import ClockFault
from sim.faults.hosts.host_fault import drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref
from sim.scenario.verb_entry import VerbEntry
from sim.wall_clock import ClockError

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host


@attrs.frozen(kw_only=True)
class ClockSkew(ClockFault):
    """Let clocks be wrong by a fixed amount."""

    word: ClassVar = "clock-skew"
    about: ClassVar = "let clocks be wrong by a fixed amount"
    keys: ClassVar = host_keys("clock-skew", by=ref("signedSpan"), spread=FLAG)
    required: ClassVar = ("by",)

    by_s: float
    spread: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        return cls(
            target=target,
            zone=zone,
            by_s=entry.cursors["by"].signed_span() if "by" in entry else 1.0,
            spread=entry.flag("spread"),
        )

    def error(self, mesh: "SimulatedMesh", name: str, host: "Host") -> ClockError:
        by_s = self.by_s
        if self.spread:
            by_s *= mesh.world.randomness.fresh("fault", name, host.name).uniform(-1.0, 1.0)
        return lambda now_s: by_s

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sign = "-" if draw.place % 2 else ""
        return {cls.word: drawn_target(draw), "by": sign + draw.span(1.0, 86400.0)}
