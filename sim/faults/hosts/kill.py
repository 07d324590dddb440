"""`kill`: the power of a service's instances is cut, in a zone or everywhere. Peers see nothing; back after `restart_after`."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import TARGET, ZONE
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Kill(Verb):
    """Cut the power of a service's instances in a zone (or of one instance)."""

    word: ClassVar = "kill"
    about: ClassVar = "cut the power"
    keys: ClassVar = {"kill": TARGET, "zone": ZONE}
    lasts_key: ClassVar = "restart_after"
    reach: ClassVar = Reach.PROCESSES

    target: str
    zone: str = ""

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word)
        return cls(target=target, zone=zone)

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        hosts = [member.host for member in mesh.instances(self.target, self.zone) if member.host.alive]
        for host in hosts:
            host.kill()
        return EachHost({host.name: host.start_if_off for host in hosts}, lambda: bool(hosts))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of(draw.names.instances if draw.strength < 6 else draw.services())}
