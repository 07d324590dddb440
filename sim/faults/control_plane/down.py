"""`control-plane: down`: the control planes lose power, and come back with what their disks kept.

Sidecars go on with what they have. With `replica` it is one of several: its sidecars find another one, which awaits the
proxies of the dead. Or it is their store, `control-plane-store`: then nothing can be written, and they serve from memory.
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


@attrs.frozen(kw_only=True)
class ControlPlaneDown(Verb):
    """Cut the power of the control planes, of one of several, or of the store that they share."""

    word: ClassVar = "control-plane"
    about: ClassVar = "cut the control plane's power"
    keys: ClassVar = {
        "control-plane": {"const": "down"},
        "replica": text("one of several, or control-plane-store; without it all control planes"),
    }
    reach: ClassVar = Reach.PROCESSES

    replica: str = ""

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        entry.cursors[cls.word].choice(("down",))
        replica = entry.get("replica")
        return cls(replica=replica.choice(entry.names.control_planes) if replica is not None else "")

    def title(self) -> str:
        return f"{self.replica or self.word} down"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        hosts = [host for host in mesh.control_planes.named(self.replica) if host.alive]
        for host in hosts:
            host.kill()
        return EachHost({host.name: host.start_if_off for host in hosts}, lambda: bool(hosts))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        hosts = draw.names.control_planes
        if len(hosts) > 1 and draw.strength < 6:
            return {cls.word: "down", "replica": draw.one_of(hosts)}
        return {cls.word: "down"}
