"""`bad-config`: an operator pushes resources that look right and break proxies, and takes them back when it is over.

Three things may follow, all seen in production: the control plane refuses or cannot build it (nothing is pushed, an alarm is
raised); sidecars refuse it (NACK) and keep the last good one; or it is legal and live at once everywhere, as bad as it is. By
name: `unreadable-trust` (NACK), `impossible-identity` (cannot be built), `deny-all` and `dead-route` (live), `oversized` (with
`size`); or a file of resources.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.control_plane.damage import DAMAGES, OVERSIZED, Damage, read_damage
from sim.faults.control_plane.in_force import InForce
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref, text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

ALARMS = ("configuration.not_built", "configuration.too_large", "configuration.refused")


@attrs.frozen(kw_only=True)
class BadConfig(Verb):
    """Push a damage; take it back at the end."""

    word: ClassVar = "bad-config"
    about: ClassVar = "push resources that look right and break proxies"
    keys: ClassVar = {"bad-config": text(f"one of {', '.join(DAMAGES)}, or a file of resources"), "size": ref("size")}
    reach: ClassVar = Reach.PROCESSES
    alarms: ClassVar = ALARMS

    damage: Damage

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        return cls(damage=read_damage(entry, cls.word))

    def title(self) -> str:
        return f"{self.word} {self.damage.name}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        active = InForce(mesh, self.damage.resources, self.alarms)
        active.put()
        return active

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        # Those that proxies are to survive are mild; what is legal and bad hurts whatever a mesh does.
        mild = [name for name in DAMAGES if name in ("unreadable-trust", "impossible-identity")]
        return {cls.word: draw.one_of(mild if draw.strength < 5 else [n for n in DAMAGES if n != OVERSIZED])}
