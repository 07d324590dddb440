"""`slow`: the work of a service takes `factor` times as long: a bad query plan, a noisy neighbour, a cold cache."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.services.service_fault import ServiceFault, read_target, service_keys
from sim.scenario.draw import Draw
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Slowness

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Slow(ServiceFault):
    """Multiply the work of a service, of its instances in one zone, or of one instance."""

    word: ClassVar = "slow"
    about: ClassVar = "multiply the work"
    keys: ClassVar = service_keys("slow", factor={"type": "number", "exclusiveMinimum": 0})
    required: ClassVar = ("factor",)

    factor: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = read_target(entry, cls.word)
        factor = entry.cursors["factor"].number() if "factor" in entry else 1.0
        if factor == 0:
            entry.cursors["factor"].refuse("must be above 0")
        return cls(target=target, zone=zone, factor=factor or 1.0)

    def ailment(self) -> Slowness:
        return Slowness(factor=self.factor)

    def touched(self, mesh: "SimulatedMesh", names: tuple[str, ...]) -> int:
        services = {member.what.workload for member in mesh.instances(self.target, self.zone)}
        return mesh.evidence.services.worked(services)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        target = draw.one_of([*draw.services(), *draw.names.instances])
        return None if draw.names.code_of(target) == "actor" else {cls.word: target, "factor": draw.between(2, 50)}
