"""`control-plane: down`: its host loses power, and comes back with what its disk kept. Sidecars go on with what they have."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, Done, EachHost
from sim.scenario.draw import Draw
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class ControlPlaneDown(Verb):
    """Cut the power of the control plane's host."""

    word: ClassVar = "control-plane"
    about: ClassVar = "cut the control plane's power"
    keys: ClassVar = {"control-plane": {"const": "down"}}
    reach: ClassVar = Reach.PROCESSES

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        entry.cursors[cls.word].choice(("down",))
        return cls()

    def title(self) -> str:
        return "control-plane down"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        host = mesh.control_plane_host
        if not host.alive:
            return Done(touched=False)
        host.kill()
        return EachHost({host.name: host.start_if_off}, lambda: True)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: "down"}
