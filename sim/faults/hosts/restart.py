"""`restart`: hosts go off and come back: everything in memory is gone, the disk is kept or wiped.

`how: stop` (the usual): an orderly end as on SIGTERM: the sidecar drains, requests under way are finished, connections closed;
then the kernel refuses new ones. `how: crash`: SIGKILL, a segmentation fault: the kernel ends the connections at once, so that
peers know, refuses new ones, and keeps what was written. `how: cut`: the power goes: silence, and what was not synced may be
lost. `disk: wiped`: it comes back on an empty disk, as a container or an instance of a scaling group does. `for`: how long it is
off at least; a second where not said.
A control plane that comes back on an empty disk is another one: with a CA of its own that nobody trusts.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.faults.hosts.host_fault import HostFault, drawn_target, host_keys
from sim.scenario.draw import Draw
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host

STOP, CRASH, CUT = "stop", "crash", "cut"
KEPT, WIPED = "kept", "wiped"


@attrs.frozen(kw_only=True)
class Restart(HostFault):
    """Switch hosts off and on."""

    word: ClassVar = "restart"
    about: ClassVar = "switch off and on"
    keys: ClassVar = host_keys("restart", how={"enum": [STOP, CRASH, CUT]}, disk={"enum": [KEPT, WIPED]})
    lasts_s: ClassVar = 1.0
    reach: ClassVar = Reach.PROCESSES

    how: str = STOP
    disk: str = KEPT

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        how = entry.cursors["how"].choice((STOP, CRASH, CUT)) if "how" in entry else STOP
        disk = entry.cursors["disk"].choice((KEPT, WIPED)) if "disk" in entry else KEPT
        return cls(target=target, zone=zone, how=how, disk=disk)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        hosts = [host for host in self.hosts(mesh) if host.alive]
        restarting = {host.name: _Restarting(self, host) for host in hosts}
        for host in hosts:
            restarting[host.name].end_now()
            mesh.world.start_task(restarting[host.name].run, mesh, name=f"restart {host.name}")
        return EachHost({host: its.over.set for host, its in restarting.items()}, lambda: bool(hosts))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        how = (STOP, CRASH, CUT)[draw.strength % 3]
        wiped = draw.strength >= 6 and draw.one_of(["", *draw.names.control_planes]) == ""
        target = draw.one_of(draw.names.instances) if wiped else drawn_target(draw)
        return {cls.word: target, "how": how, "disk": WIPED if wiped else KEPT}


class _Restarting:
    """One host on its way down and up."""

    def __init__(self, verb: Restart, host: "Host") -> None:
        self.over = trio.Event()
        self._verb = verb
        self._host = host

    def end_now(self) -> None:
        """End it, unless that takes its time."""
        if self._verb.how == CUT:
            self._host.kill()
        elif self._verb.how == CRASH:
            self._host.crash("killed")

    async def run(self, mesh: "SimulatedMesh") -> None:
        """See it down, and up again when the time is over."""
        if self._verb.how == STOP:
            await self._stop(mesh)
        if self._verb.disk == WIPED and not self._host.alive:
            self._host.platter.wipe()
        await self.over.wait()
        self._host.start_if_off()

    async def _stop(self, mesh: "SimulatedMesh") -> None:
        member = mesh.members.get(self._host.name)
        if member is not None and member.sidecar is not None and not self._host.processor.paused:
            await member.sidecar.drain()
        await self._host.stop(machine=False)
