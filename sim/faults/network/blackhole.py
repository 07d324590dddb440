"""`blackhole`: what crosses vanishes and nobody says so: a firewall that drops instead of refusing, a route to nowhere, a
security group that was closed, a load balancer whose target is gone.

SYNs vanish, so that a connect ends by its timeout (127 s without one), and so do the bytes of established connections, which
are sent again and again. `only: new` takes SYNs alone: what is connected works on, and pools hide the fault until they need
another connection. `only: established` is a path that lost its state, where a fresh connection would work. `larger_than:
1400B` swallows large segments alone: a tunnel with a smaller MTU and filtered ICMP, where health checks and small requests
are fine.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.network.link_fault import LinkFault, link_keys, link_place
from sim.network.cuts import Blackhole as Rule
from sim.network.cuts import Swallows
from sim.network.rules import Between
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ref
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_CHOICES = tuple(swallows.value for swallows in Swallows)


@attrs.frozen(kw_only=True)
class Blackhole(LinkFault):
    """Swallow what crosses between two sides."""

    word: ClassVar = "blackhole"
    about: ClassVar = "swallow SYNs and bytes without an answer"
    keys: ClassVar = link_keys(
        "blackhole",
        only={"enum": list(_CHOICES)},
        larger_than=ref("size") | {"description": "smaller segments pass"},
    )

    only: Swallows = Swallows.ALL
    larger_than: int = -1

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        only, larger_than = entry.get("only"), entry.get("larger_than")
        return cls(
            **link_place(entry, cls.word),
            only=Swallows(only.choice(_CHOICES)) if only is not None else Swallows.ALL,
            larger_than=larger_than.size() if larger_than is not None else -1,
        )

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        return Rule(between=between, swallows=self.only, larger_than=self.larger_than)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        sides = draw.sides()
        only = ("established", "new", "all")[draw.strength // 4]
        return None if sides is None else {cls.word: [*sides], "only": only}
