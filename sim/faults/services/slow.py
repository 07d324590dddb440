"""`slow`: the work of a service takes `factor` times as long: a bad query plan, a noisy neighbour, a cold cache."""

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
class Slow(Verb):
    """Multiply the work of a service, of its instances in one zone, or of one instance."""

    word: ClassVar = "slow"
    about: ClassVar = "multiply the work"
    keys: ClassVar = {"slow": TARGET, "zone": ZONE, "factor": {"type": "number", "exclusiveMinimum": 0}}
    required: ClassVar = ("factor",)
    reach: ClassVar = Reach.PROCESSES

    target: str
    zone: str = ""
    factor: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word)
        factor = entry.cursors["factor"].number() if "factor" in entry else 1.0
        if factor == 0:
            entry.cursors["factor"].refuse("must be above 0")
        return cls(target=target, zone=zone, factor=factor or 1.0)

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        members = mesh.instances(self.target, self.zone)
        services = {member.what.workload for member in members}
        before = mesh.evidence.services.worked(services)
        undo = {member.name: mesh.slow_down(member.name, self.factor) for member in members}
        return EachHost(undo, lambda: mesh.evidence.services.worked(services) > before)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of([*draw.services(), *draw.names.instances]), "factor": draw.between(2, 50)}
