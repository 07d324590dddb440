"""`herd`: all users of a workload lose their connections, and come back at once when it ends.

A broken provider, a mobile network that is back, a restart of what everybody is connected to. Meanwhile nobody is there; then
everybody who was there, or wanted to come, begins in one instant: connections, handshakes and journeys all together. With
`over` they come back spread over a span, as clients with jitter do. What was under way counts as failed.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.load.load_fault import WORKLOAD_TEXT, LoadActive, LoadFault
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref, text
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Herd(LoadFault):
    """Cut all users of a workload off, and let them come back together."""

    word: ClassVar = "herd"
    about: ClassVar = "cut all users off; they come back at once"
    keys: ClassVar = {"herd": text(WORKLOAD_TEXT), "over": ref("span")}
    required: ClassVar = ("for",)

    over_s: float = 0.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        workload = entry.names.refuse_unknown_workload(entry.cursors[cls.word])
        return cls(workload=workload, over_s=entry.cursors["over"].span() if "over" in entry else 0.0)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        users = self.users(mesh)
        before = sum(here.cut_off for here in users)
        for here in users:
            here.leave()

        def end() -> None:
            for here in users:
                here.come_back(self.over_s, name)

        return LoadActive(end, lambda: sum(here.cut_off for here in users) > before)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        workloads = list(draw.names.headers_by_workload)
        return {cls.word: draw.one_of(workloads)} if workloads else None
