"""`memory-limit`: hosts may take so much memory and no more: who takes more is killed, and started again by its supervisor.

As a container whose limit is too tight: what runs there takes memory at rest, for each connection, for each byte in a buffer,
for each request in flight and for each byte of configuration (`sim.memory` has the figures). Every 100 ms it is looked at; beyond
`limit` the out-of-memory killer ends sidecar and application at once: connections are closed by the kernel, new ones refused.
After `restart_after` (10 s where not said) the supervisor starts them again, and waits twice as long after each further death.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.faults.hosts.host_fault import HostFault, drawn_target, host_keys
from sim.memory import MIB, memory_bytes
from sim.restart_back_off import RestartBackOff
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh
    from sim.host import Host

LOOK_S = 0.1
RESTART_S = 10.0


@attrs.frozen(kw_only=True)
class MemoryLimit(HostFault):
    """Kill who takes too much memory."""

    word: ClassVar = "memory-limit"
    about: ClassVar = "kill who takes too much memory"
    keys: ClassVar = host_keys("memory-limit", limit=ref("size"), restart_after=ref("span"))
    required: ClassVar = ("limit",)

    limit_bytes: int = 0
    restart_s: float = RESTART_S

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word, hosts=True)
        limit_bytes = entry.cursors["limit"].size() if "limit" in entry else 0
        restart_s = entry.cursors["restart_after"].span(positive=True) if "restart_after" in entry else RESTART_S
        return cls(target=target, zone=zone, limit_bytes=limit_bytes, restart_s=restart_s)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        supervisors = {host.name: _Supervisor(self, mesh, host) for host in self.hosts(mesh)}
        for host, supervisor in supervisors.items():
            mesh.world.start_task(supervisor.run, name=f"memory of {host}")
        its_end = {host: supervisor.end for host, supervisor in supervisors.items()}
        return EachHost(its_end, lambda: any(supervisor.kills for supervisor in supervisors.values()))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        limit_mib = round(draw.between(256, 33))
        return {cls.word: drawn_target(draw), "limit": f"{limit_mib}MiB", "restart_after": "1s"}


class _Supervisor:
    """Watches one host, ends it and starts it again."""

    def __init__(self, verb: MemoryLimit, mesh: "SimulatedMesh", host: "Host") -> None:
        self.kills = 0
        self._limit_bytes = verb.limit_bytes
        self._mesh = mesh
        self._host = host
        self._scope = trio.CancelScope()
        self._back_off = RestartBackOff(verb.restart_s)
        self._waits = False

    def end(self) -> None:
        """The limit is gone, and with it the wait of what it killed."""
        self._scope.cancel()
        if self._waits:
            self._host.start_if_off()

    async def run(self) -> None:
        with self._scope:
            while True:
                await trio.sleep(LOOK_S)
                if self._host.alive and self._taken_bytes() > self._limit_bytes:
                    await self._kill()

    def _taken_bytes(self) -> int:
        return memory_bytes(self._host, self._mesh.members.get(self._host.name))

    async def _kill(self) -> None:
        host = self._host
        self.kills += 1
        wait_s = self._back_off.after_death(ran_s=self._mesh.world.now() - host.started_s)
        host.crash(f"out of memory: {self._taken_bytes() / MIB:.1f} MiB of {self._limit_bytes / MIB:.1f} MiB")
        self._waits = True
        await trio.sleep(wait_s)
        self._waits = False
        host.start_if_off()
