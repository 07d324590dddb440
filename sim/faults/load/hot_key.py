"""`hot-key`: a share of a workload's requests all carry one value of a header: a celebrity, a viral article, one huge tenant.

Consistent hashing sends them all to one instance, a rate limit for each value fills at once, a sharded cache melts in one place.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.load.load_fault import WORKLOAD_TEXT, LoadActive, LoadFault
from sim.scenario.draw import Draw
from sim.scenario.header_reader import read_header_name, read_header_value
from sim.scenario.schema_parts import ref, text
from sim.scenario.verb_entry import VerbEntry
from sim.workload.hot_key import HotKey as Heat

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class HotKey(LoadFault):
    """Give a share of the requests of a workload one value of a header."""

    word: ClassVar = "hot-key"
    about: ClassVar = "give a share of the requests one value of a header"
    keys: ClassVar = {
        "hot-key": text(WORKLOAD_TEXT),
        "header": text("the name of a header"),
        "value": text("its hot value; hot where none is written"),
        "share": ref("percent"),
    }
    required: ClassVar = ("header", "share")

    header: str
    value: str = "hot"
    share: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        workload = entry.names.refuse_unknown_workload(entry.cursors[cls.word])
        return cls(
            workload=workload,
            header=read_header_name(entry.cursors["header"]) if "header" in entry else "",
            value=read_header_value(entry.cursors["value"]) if "value" in entry else "hot",
            share=entry.cursors["share"].percent() if "share" in entry else 1.0,
        )

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        everywhere = self.users(mesh)
        random = mesh.world.randomness.stream("hot-key", name)
        heat = Heat(self.header, self.value, self.share, random)
        for users in everywhere:
            users.hot_keys.append(heat)

        def end() -> None:
            for users in everywhere:
                users.hot_keys.remove(heat)

        return LoadActive(end, lambda: heat.hits > 0)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        headers = [(name, header) for name, its in draw.names.headers_by_workload.items() for header in its]
        if not headers:
            return None
        workload, header = headers[draw.place % len(headers)]
        return {cls.word: workload, "header": header, "share": draw.share(0.1, 1.0)}
