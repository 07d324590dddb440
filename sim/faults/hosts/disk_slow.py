"""`disk-slow`: each read of a file and each sync `takes` so much longer: a worn SSD, a volume throttled by its quota, a rebuild.

Writes go to the cache and take no time; a database's commit waits for its syncs. So a control plane takes changes slowly, and a
sidecar starts slowly; requests are not touched, since nothing on their path asks a disk.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each, drawn_target, host_keys
from sim.host import Host
from sim.scenario.distributions import Constant, Distribution
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class DiskSlow(HostFault):
    """Let disks take longer."""

    word: ClassVar = "disk-slow"
    about: ClassVar = "let disks take longer"
    keys: ClassVar = host_keys("disk-slow", takes=ref("distribution"))
    required: ClassVar = ("takes",)

    takes: Distribution = Constant(0.0)

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        return cls(target=target, zone=zone, takes=entry.distribution("takes") or Constant(0.0))

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: Host) -> Callable[[], None]:
            random = mesh.world.randomness.fresh("fault", name, host.name)

            def more_s() -> float:
                return self.takes.draw(random)

            host.platter.delays.append(more_s)
            return lambda: host.platter.delays.remove(more_s)

        return begin_each(self.hosts(mesh), begin, lambda host: host.platter.waited)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw), "takes": draw.span(0.01, 30.0)}
