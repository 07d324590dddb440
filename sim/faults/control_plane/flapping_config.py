"""`flapping-config`: two versions of the configuration alternate, `every` so long: two writers that disagree, or a generator
that is wrong every other time.

The first change is at once, and the old version is back at the end. Proxies follow as fast as they are told; listeners,
clusters and connections that both versions have must not notice. Source: Cloudflare, 18 November 2025 (good and bad files
every five minutes).
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs
import trio

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.control_plane.bad_config import ALARMS
from sim.faults.control_plane.damage import DAMAGES, Damage, read_damage
from sim.faults.control_plane.in_force import InForce
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref, text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class _Flapping(InForce):
    """Resources that come and go until the end."""

    _over: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, every_s: float) -> None:
        """Change every so often."""
        there = True
        while not self._over.is_set():
            with trio.move_on_after(every_s):
                await self._over.wait()
                return
            there = not there
            if there:
                self.put()
            else:
                self.take_back()

    def end(self) -> None:
        self._over.set()
        self.take_back()


@attrs.frozen(kw_only=True)
class FlappingConfig(Verb):
    """Push a damage, take it back, and again."""

    word: ClassVar = "flapping-config"
    about: ClassVar = "two versions of the configuration alternate"
    keys: ClassVar = {
        "flapping-config": text(f"what comes and goes: one of {', '.join(DAMAGES)}, or a file of resources"),
        "every": ref("span"),
        "size": ref("size"),
    }
    required: ClassVar = ("every",)
    reach: ClassVar = Reach.PROCESSES
    alarms: ClassVar = ALARMS

    damage: Damage
    every_s: float

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        every_s = entry.cursors["every"].span(positive=True) if "every" in entry else 1.0
        return cls(damage=read_damage(entry, cls.word), every_s=every_s)

    def title(self) -> str:
        return f"{self.word} {self.damage.name}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        active = _Flapping(mesh, self.damage.resources, self.alarms)
        active.put()
        mesh.world.start_task(active.run, self.every_s, name=name)
        return active

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: "unreadable-trust" if draw.strength < 5 else "dead-route", "every": draw.span(30.0, 0.5)}
