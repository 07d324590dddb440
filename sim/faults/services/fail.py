"""`fail`: a share of the requests is answered with errors, or reset, instead of being worked on, each when its turn has come."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.services.service_fault import ServiceFault, read_target, service_keys
from sim.scenario.draw import Draw
from sim.scenario.failure_reader import read_failures
from sim.scenario.schema_parts import ref
from sim.scenario.topology import Failure
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Failing

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Fail(ServiceFault):
    """Answer with errors instead of working: a service, its instances in one zone, or one instance."""

    word: ClassVar = "fail"
    about: ClassVar = "answer with errors instead of working"
    keys: ClassVar = service_keys("fail", errors=ref("errors"))
    required: ClassVar = ("errors",)

    failures: tuple[Failure, ...]

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = read_target(entry, cls.word, kinds=("http",))
        errors = entry.get("errors")
        return cls(target=target, zone=zone, failures=read_failures(errors) if errors is not None else ())

    def ailment(self) -> Failing:
        return Failing(failures=self.failures)

    def touched(self, mesh: "SimulatedMesh", names: tuple[str, ...]) -> int:
        services = {member.what.workload for member in mesh.instances(self.target, self.zone)}
        return mesh.evidence.services.failures(services)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        http = [name for name in draw.services(kind="http") if draw.names.code_of(name) != "actor"]
        if not http:
            return None
        return {cls.word: draw.one_of(http), "errors": {"503": draw.share(0.01, 1.0)}}
