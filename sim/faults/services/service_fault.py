"""What all faults of applications have in common: whom they concern, and how what is wrong is added and lifted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.faults.active import Active, EachHost
from sim.scenario.schema_parts import TARGET, ZONE, Schema
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Ailment

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class ServiceFault(Verb):
    """Something wrong with a service, with its instances in one zone, or with one instance."""

    reach: ClassVar[Reach] = Reach.PROCESSES

    target: str
    zone: str = ""

    def title(self) -> str:
        return f"{self.word} {self.target}"

    def ailment(self) -> Ailment:
        """Return what is wrong."""
        raise NotImplementedError

    def touched(self, mesh: "SimulatedMesh", names: tuple[str, ...]) -> int:
        """Count the requests that felt it, of the named instances."""
        return sum(mesh.condition_of(name).touched for name in names)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        names = tuple(member.name for member in mesh.instances(self.target, self.zone))
        before = self.touched(mesh, names)
        undo = {name: mesh.condition_of(name).add(self.ailment()) for name in names}
        return EachHost(undo, lambda: self.touched(mesh, names) > before)


def service_keys(word: str, **more: Schema) -> Mapping[str, Schema]:
    """Return the keys of a fault of applications."""
    return {word: TARGET, "zone": ZONE, **more}


def read_target(
    entry: VerbEntry, word: str, *, kinds: tuple[str, ...] = ("http", "postgresql", "redis")
) -> tuple[str, str]:
    """Return the service or instance, and the zone; refuse what the fault cannot reach into."""
    target, zone = entry.target(word)
    kind = entry.names.kind_of(target)
    if entry.names.code_of(target) == "actor":
        message = f"'{target}' is an actor of its own; {word} does not reach into its code"
        entry.cursors[word].refuse(message, "kill, restart, crash-loop and faults of the network reach it")
    elif kind not in kinds:
        entry.cursors[word].refuse(f"{word} is for {' or '.join(kinds)} services; '{target}' is a {kind} service")
    return target, zone
