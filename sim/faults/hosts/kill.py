"""`kill`: the power of hosts is cut. Peers see nothing, un-synced writes may be lost; back after `restart_after`.

A broken power supply, a kernel panic, a hypervisor that dies; with a zone, a data centre without power. What peers sent goes
on being retransmitted; the first segment that reaches the new life is answered by a reset.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.faults.hosts.host_fault import HostFault, drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Kill(HostFault):
    """Cut the power."""

    word: ClassVar = "kill"
    about: ClassVar = "cut the power"
    keys: ClassVar = host_keys("kill")
    lasts_key: ClassVar = "restart_after"
    reach: ClassVar = Reach.PROCESSES

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        return cls(target=target, zone=zone)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        hosts = [host for host in self.hosts(mesh) if host.alive]
        for host in hosts:
            host.kill()
        return EachHost({host.name: host.start_if_off for host in hosts}, lambda: bool(hosts))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw)}
