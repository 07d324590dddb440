"""`half-open`: connections are forgotten by something between their ends, which goes on believing in them: a NAT or stateful
firewall that restarts or fails over without its table, a load balancer that forgets what was `idle` for too long (five
minutes, usually).

Nobody is told. The first end that writes gets a reset, and its peer still hears nothing until it writes itself. `silent:
true`: no reset either, as of firewalls that drop: TCP sends again for 15 minutes, so only timeouts and keep-alives (of the
application: TCP's own are off by default, and not modelled) find out. New connections work.

Without `idle`, all connections that are open when it begins are forgotten. When the fault is over, what nobody has written on
in the meantime is known again, as by a firewall that picks connections up in the middle. A pool that does not look at its
idle connections sends a request into each of them.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.clock import NS_PER_S
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.breaks import Forget
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ref
from sim.scenario.verb import Reach
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class HalfOpen(LinkFault):
    """Forget the connections between two sides."""

    word: ClassVar = "half-open"
    about: ClassVar = "forget the connections between two sides without telling anybody"
    keys: ClassVar = link_keys(
        "half-open",
        idle=ref("span")
        | {"description": "forget those that were idle for so long; else all that are open when it begins"},
        silent=FLAG | {"description": "who writes gets no reset either"},
    )
    reach: ClassVar = Reach.SIMULATION

    idle_s: float | None = None
    silent: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        idle = entry.get("idle")
        return cls(
            **link_place(entry, cls.word),
            idle_s=idle.span(positive=True) if idle is not None else None,
            silent=entry.flag("silent"),
        )

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Forget:
        return Forget(
            between=between,
            opened_before_ns=mesh.world.clock.now_ns if self.idle_s is None else -1,
            idle_ns=-1 if self.idle_s is None else round(self.idle_s * NS_PER_S),
            silent=self.silent,
        )

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        return None if sides is None else {cls.word: [*sides], "silent": draw.strength >= 5}
