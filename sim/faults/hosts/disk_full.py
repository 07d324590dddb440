"""`disk-full`: others on the same disk (logs, cores) take all room but `free`; what would grow beyond it fails with ENOSPC.

What is there stays readable, and may be replaced by something that is no larger. Nothing acknowledged is lost: a control plane
refuses changes that it cannot store, a sidecar goes on with what it has and says that it could not keep it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each, drawn_target, host_keys
from sim.host import Host
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class DiskFull(HostFault):
    """Leave no room on disks."""

    word: ClassVar = "disk-full"
    about: ClassVar = "leave no room on disks"
    keys: ClassVar = host_keys("disk-full", free=ref("size"))

    free_bytes: int = 0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        return cls(target=target, zone=zone, free_bytes=entry.cursors["free"].size() if "free" in entry else 0)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: Host) -> Callable[[], None]:
            return host.platter.fill(free_bytes=self.free_bytes)

        return begin_each(self.hosts(mesh), begin, lambda host: host.platter.refused)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw), "free": f"{round(65536 / 4**draw.strength)}B"}
