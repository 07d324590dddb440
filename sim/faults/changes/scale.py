"""`scale`: run this many instances of a service in each named zone: more start, or those that came last drain and stop.

Instances that start are cold, get the next numbers and register like any other. An instance that goes drains first, so nothing is
lost; `deploy` is the change that may do without.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import suggest
from sim.faults.active import Active, Done
from sim.scenario.schema_parts import COUNT, map_of, text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class Scale(Verb):
    """Run this many instances of a service in each named zone."""

    word: ClassVar = "scale"
    about: ClassVar = "run this many instances"
    keys: ClassVar = {"scale": text("a service"), "to": map_of(COUNT)}
    required: ClassVar = ("to",)
    hurts: ClassVar = False
    reconfigures: ClassVar = True
    lasts_key: ClassVar = ""
    reach: ClassVar = Reach.PROCESSES

    service: str
    to: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        service = entry.cursors[cls.word].text()
        known = entry.names.kind_by_service
        if service and service not in known:
            hint = suggest(service, known) or f"services: {', '.join(known)}"
            entry.cursors[cls.word].refuse(f"unknown service '{service}'", hint)
        to = []
        written = entry.get("to")
        for zone, count in (written.entries() if written is not None else {}).items():
            if zone not in entry.names.zones:
                count.refuse(f"unknown zone '{zone}'", f"zones: {', '.join(entry.names.zones)}")
            to.append((zone, count.count()))
        return cls(service=service, to=tuple(to))

    def title(self) -> str:
        return f"{self.word} {self.service}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        """Start or stop instances until each zone has as many as it should."""
        changed = False
        for zone, wanted in self.to:
            present = mesh.instances(self.service, zone)
            for _ in range(wanted - len(present)):
                mesh.start_instance(self.service, zone)
                changed = True
            for member in reversed(present[wanted:]):
                mesh.world.start_task(mesh.stop_instance, member, name=f"stop {member.name}")
                changed = True
        return Done(changed)
