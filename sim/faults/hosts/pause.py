"""`pause`: hosts stand still for a while, then go on as if nothing had been; everything that came meanwhile comes late.

`how: process` (the usual): nothing that runs there takes a step: SIGSTOP, a frozen cgroup, a long garbage collection, a virtual
CPU that the hypervisor starves. The kernel lives: it acknowledges bytes until its buffers are full and accepts 128 connections,
so TCP keep-alives and connect checks pass; only an answer is missing. `how: machine`: a live migration or a hypervisor's pause:
the kernel stands still too, nothing is acknowledged, peers retransmit with growing pauses, and their connects time out.
What is on its way at that moment waits in the network card.

Timers, Trio's deadlines and pumps' deadlines of the host are late, after what arrived. What cannot be late is work of this host
that the scenario's own tasks do on its behalf: a drain (`scale`) begins although the process sleeps.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.hosts.host_fault import HostFault, begin_each, drawn_target, host_keys
from sim.host import Host
from sim.network.cuts import Partition
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

PROCESS, MACHINE = "process", "machine"


@attrs.frozen(kw_only=True)
class Pause(HostFault):
    """Let hosts stand still."""

    word: ClassVar = "pause"
    about: ClassVar = "let hosts stand still"
    keys: ClassVar = host_keys("pause", how={"enum": [PROCESS, MACHINE]})
    reach: ClassVar = Reach.PROCESSES

    how: str = PROCESS

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        how = entry.cursors["how"].choice((PROCESS, MACHINE)) if "how" in entry else PROCESS
        return cls(target=target, zone=zone, how=how)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        def begin(host: Host) -> Callable[[], None]:
            incarnation = host.network_host.incarnation
            host.pause()
            rule = None
            if self.how == MACHINE:
                between = Between(source=(host.name,))
                rule = mesh.world.network.add_rule(Partition(between=between), name=f"{name}: {host.name}")

            def resume() -> None:
                if rule is not None:
                    rule.remove()
                # A crash or power cut has ended the pause with all else.
                if host.alive and host.network_host.incarnation == incarnation:
                    host.resume()

            return resume

        return begin_each([host for host in self.hosts(mesh) if host.alive], begin, lambda host: host.held)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: drawn_target(draw), "how": MACHINE if draw.strength % 2 else PROCESS}
