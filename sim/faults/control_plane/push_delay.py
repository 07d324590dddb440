"""`push-delay`: what the control plane sends takes long to go out: it is short of processor time, or paces itself.

Pushes wait in the control plane, each proxy's for itself; acknowledgements, heartbeats and certificates do not. Proxies go on
with what they have, so what this hurts is change: new instances that get no traffic, dead ones that still do. What is held
when it ends goes out then. Source: Istio's pilot_proxy_convergence_time and PILOT_PUSH_THROTTLE are about the same waiting.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.push_delays import PushDelay as Delay
from sim.push_delays import PushDelays
from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Distribution
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import TARGET, ZONE, ref
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class _Holding:
    """The delay while it lasts."""

    delays: PushDelays
    delay: Delay

    def end(self) -> None:
        self.delays.remove(self.delay)

    def bit(self) -> bool:
        return self.delay.held > 0

    def spare(self, core: frozenset[str]) -> bool:
        self.delay.spare(core)
        return True


@attrs.frozen(kw_only=True)
class PushDelay(Verb):
    """Hold back the pushes to all proxies, or to those of one service, one instance or one zone's part of a service."""

    word: ClassVar = "push-delay"
    about: ClassVar = "hold back what the control plane sends to proxies"
    keys: ClassVar = {"push-delay": ref("distribution"), "to": TARGET, "zone": ZONE}

    delay: Distribution
    target: str = ""
    zone: str = ""

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        delay = read_distribution(entry.cursors[cls.word], entry.folder)
        if "to" in entry:
            target, zone = entry.target("to")
            return cls(delay=delay, target=target, zone=zone)
        if "zone" in entry:
            entry.cursors["zone"].refuse("needs to", "for example to: web")
        return cls(delay=delay)

    def title(self) -> str:
        return f"{self.word} {self.target}".rstrip()

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        members = mesh.instances(self.target, self.zone) if self.target else []
        delay = Delay(
            delay=self.delay,
            random=mesh.world.randomness.stream("push-delay", name),
            proxies=frozenset(member.name for member in members) if self.target else None,
        )
        mesh.control_planes.push_delays.add(delay)
        return _Holding(mesh.control_planes.push_delays, delay)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        keys: dict[str, Value] = {cls.word: draw.span(0.5, 60.0)}
        if draw.place % 2:
            keys["to"] = draw.services()[draw.place // 2 % len(draw.services())]
        return keys
