"""`cp-restart`: a control plane ends and comes back with what its disk kept: an upgrade, a crash, a move to another machine.

`graceful`: it is told to stop, closes its connections and cleans up. `power-cut`: its machine goes dark; sidecars notice by
silence, and what was not synced may be lost. Either way its sidecars come back to it, or to another replica, all at about the
same time.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

GRACEFUL = "graceful"
POWER_CUT = "power-cut"


@attrs.frozen(kw_only=True)
class ControlPlaneRestart(Verb):
    """Restart all control planes, one of several, or the store that they share."""

    word: ClassVar = "cp-restart"
    about: ClassVar = "a control plane stops, and comes back from its disk"
    keys: ClassVar = {
        "cp-restart": {"enum": [GRACEFUL, POWER_CUT]},
        "replica": text("one of several, or control-plane-store; without it all control planes"),
    }
    required: ClassVar = ("restart_after",)
    lasts_key: ClassVar = "restart_after"
    reach: ClassVar = Reach.PROCESSES

    graceful: bool
    replica: str = ""

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        how = entry.cursors[cls.word].choice((GRACEFUL, POWER_CUT))
        replica = entry.cursors["replica"].choice(entry.names.control_planes) if "replica" in entry else ""
        return cls(graceful=how == GRACEFUL, replica=replica)

    def title(self) -> str:
        return f"{self.word} {self.replica}".rstrip()

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        hosts = [host for host in mesh.control_planes.named(self.replica) if host.alive]
        for host in hosts:
            if self.graceful:
                mesh.world.start_task(host.stop, name=f"stop {host.name}")
            else:
                host.kill()
        return EachHost({host.name: host.restart for host in hosts}, lambda: bool(hosts))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        keys: dict[str, Value] = {cls.word: GRACEFUL if draw.strength < 5 else POWER_CUT}
        hosts = draw.names.control_planes
        return keys if len(hosts) == 1 else keys | {"replica": draw.one_of(hosts)}
