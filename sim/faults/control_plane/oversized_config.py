"""`oversized-config`: a generator makes far more configuration than there was ever meant to be, and limits are reached.

Routes are generated until the proxies that call a service are to get about so much more. What is larger than the control
plane's limit (`control_plane: {config_limit: ...}`, else a message of 16 MiB) is not sent: proxies keep what they have and an
alarm is raised. Below the limit it is live, and costs memory and time. Source: Cloudflare, 18 November 2025 (a file of
features twice its size).
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from mesh.resources.resource import Resource
from sim.faults.active import Active
from sim.faults.control_plane.bad_config import ALARMS
from sim.faults.control_plane.damage import oversized
from sim.faults.control_plane.in_force import InForce
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import TARGET, ref
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class OversizedConfig(Verb):
    """Push generated routes; take them back at the end. `size_bytes` is for each proxy that calls."""

    word: ClassVar = "oversized-config"
    about: ClassVar = "push far more configuration than there was ever meant to be"
    keys: ClassVar = {"oversized-config": ref("size"), "about": TARGET}
    reach: ClassVar = Reach.PROCESSES
    alarms: ClassVar = ALARMS

    size_bytes: int
    resources: tuple[Resource, ...]

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        size_bytes, service = entry.cursors[cls.word].size(), ""
        if "about" in entry:
            service = entry.cursors["about"].text()
            if entry.names.kind_by_service.get(service) != "http":
                http = [name for name, kind in entry.names.kind_by_service.items() if kind == "http"]
                entry.cursors["about"].refuse(f"'{service}' is no http service", f"known: {', '.join(http)}")
        resources = oversized(entry.names, size_bytes, mesh=entry.mesh, service=service)
        return cls(size_bytes=size_bytes, resources=resources)

    def title(self) -> str:
        return self.word

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        active = InForce(mesh, self.resources, self.alarms)
        active.put()
        return active

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: f"{round(draw.between(16, 1024))}KiB"} if draw.services(kind="http") else None
