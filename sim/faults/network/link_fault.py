"""What all faults between two sides have in common."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.faults.active import Active, RuleActive
from sim.network.rules import Between, Rule
from sim.scenario.schema_parts import FLAG, SIDES, Schema
from sim.scenario.timeline import Side
from sim.scenario.verb import Reach, Verb

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class LinkFault(Verb):
    """Something between two sides; `oneway`: only what the first sends to the second."""

    reach: ClassVar[Reach] = Reach.LINKS

    sides: tuple[Side, Side]
    oneway: bool = False

    def title(self) -> str:
        return f"{self.word} {'|'.join('+'.join(side) for side in self.sides)}"

    def between(self, mesh: "SimulatedMesh") -> Between:
        """Return the hosts and zones on each side: the name of a service stands for its instances."""
        first, second = (mesh.hosts_of(side) for side in self.sides)
        return Between(source=first, target=second, both_ways=not self.oneway)

    def rule(self, mesh: "SimulatedMesh") -> Rule:
        """Return the rule that judges what crosses."""
        raise NotImplementedError

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        return RuleActive(mesh.world.network.add_rule(self.rule(mesh), name=name))


def link_keys(word: str, **more: Schema) -> Mapping[str, Schema]:
    """Return the keys of a link fault."""
    return {word: SIDES, "oneway": FLAG, **more}
