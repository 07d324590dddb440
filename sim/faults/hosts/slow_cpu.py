"""`slow-cpu`: hosts compute `factor` times as slowly: throttled by a CPU limit, a noisy neighbour, heat, a debug build.

An application's work takes `factor` times as long. All else that computes on the host shares one core, on which every step
of the sidecar's pumps, every step of a task and every TLS handshake takes time in turn (`sim.processor` has the figures, which
are those of our own proxy): a proxied request costs some (factor - 1) * 60 us, as much again in an application that does
nothing, a handshake (factor - 1) * 0.9 ms. So a factor of 100 leaves an instance some 90 requests/s, and beyond that requests
queue. Timers are as late as the core is.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each, drawn_target, host_keys
from sim.host import Host
from sim.scenario.draw import Draw
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Slowness

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class SlowCpu(HostFault):
    """Let hosts compute slowly."""

    word: ClassVar = "slow-cpu"
    about: ClassVar = "let hosts compute slowly"
    keys: ClassVar = host_keys("slow-cpu", factor={"type": "number", "minimum": 1})
    required: ClassVar = ("factor",)

    factor: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        factor = entry.cursors["factor"].number(least=1.0) if "factor" in entry else 1.0
        return cls(target=target, zone=zone, factor=factor)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: Host) -> Callable[[], None]:
            host.processor.slow_down(self.factor)
            slowness = Slowness(factor=self.factor)
            work_again = mesh.condition_of(host.name).add(slowness) if host.name in mesh.members else None

            def undo() -> None:
                host.processor.speed_up(self.factor)
                if work_again is not None:
                    work_again()

            return undo

        return begin_each(self.hosts(mesh), begin, lambda host: host.held)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw), "factor": draw.between(2, 300)}
