"""`fail`: a share of the requests is answered with errors, or reset, instead of being worked on."""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active, EachHost
from sim.scenario.draw import Draw
from sim.scenario.failure_reader import read_failures
from sim.scenario.schema_parts import TARGET, ZONE, ref
from sim.scenario.topology import Failure
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Fail(Verb):
    """Answer with errors instead of working: a service, its instances in one zone, or one instance."""

    word: ClassVar = "fail"
    about: ClassVar = "answer with errors instead of working"
    keys: ClassVar = {"fail": TARGET, "zone": ZONE, "errors": ref("errors")}
    required: ClassVar = ("errors",)
    reach: ClassVar = Reach.PROCESSES

    target: str
    zone: str = ""
    failures: tuple[Failure, ...]

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = entry.target(cls.word)
        kind = entry.names.kind_of(target)
        if kind != "http":
            complaint = f"only http services answer with errors; '{target}' is a {kind} service"
            entry.cursors[cls.word].refuse(complaint)
        errors = entry.get("errors")
        return cls(target=target, zone=zone, failures=read_failures(errors) if errors is not None else ())

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        members = mesh.instances(self.target, self.zone)
        services = {member.what.workload for member in members}
        before = mesh.evidence.services.failures(services)
        undo = {member.name: mesh.let_fail(member.name, self.failures) for member in members}
        return EachHost(undo, lambda: mesh.evidence.services.failures(services) > before)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        http = draw.services(kind="http")
        if not http:
            return None
        return {cls.word: draw.one_of(http), "errors": {"503": draw.share(0.01, 1.0)}}
