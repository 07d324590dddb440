"""`spike`: a workload sends `factor` times as much for a while: an advert, a retweet, the evening of a match.

Open users arrive beside those of the workload's own rate, drawn apart, so that these stay who they are; closed ones come in
addition and leave after the journey that they are on.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.load.load_fault import WORKLOAD_TEXT, LoadActive, LoadFault
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import text
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.workload.users import Extra


@attrs.frozen(kw_only=True)
class Spike(LoadFault):
    """Multiply the load of a workload."""

    word: ClassVar = "spike"
    about: ClassVar = "multiply the load of a workload"
    keys: ClassVar = {"spike": text(WORKLOAD_TEXT), "factor": {"type": "number", "exclusiveMinimum": 1}}
    required: ClassVar = ("factor",)

    factor: float = 2.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        workload = entry.names.refuse_unknown_workload(entry.cursors[cls.word])
        factor = entry.cursors["factor"].number() if "factor" in entry else 2.0
        if factor <= 1:
            entry.cursors["factor"].refuse("must be above 1")
        return cls(workload=workload, factor=max(factor, 1.0))

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        extras = [users.add_users(self.factor, name) for users in self.users(mesh)]

        def end() -> None:
            for extra in extras:
                extra.going = False

        return LoadActive(end, lambda: _any_started(extras))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        workloads = list(draw.names.headers_by_workload)
        return {cls.word: draw.one_of(workloads), "factor": draw.between(1.5, 10)} if workloads else None


def _any_started(extras: "list[Extra]") -> bool:
    return any(extra.started for extra in extras)
