"""What all faults between two sides have in common.

`oneway`: only what the first side sends to the second is touched. `port`: only connections to this port of a server (8080:
the inbound of an http service; 53: DNS; 5678: the control plane). `flap: 2s`: two seconds with the fault, two without, and so
on, as a bad optic or a route that is withdrawn and announced again. `swizzle: 4s`: the hosts of the first side get it one by
one, at drawn moments of the first 4 s, and lose it in another order in the 4 s after each began (FoundationDB's
swizzle-clogging, which has found more bugs there than any other fault).

A side is a zone, a service (its instances), an instance, the control plane, or `dns` (the resolvers of all zones).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypedDict

import attrs

from sim.faults.active import Active, RuleActive
from sim.faults.network.intermittent import Intermittent, flapping, swizzled
from sim.network.dns import resolver_name
from sim.network.rules import Between, Rule
from sim.scenario.names import DNS
from sim.scenario.schema_parts import FLAG, SIDES, Schema, ref
from sim.scenario.timeline import Side
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

PORT_MAX = 65_535


class LinkPlace(TypedDict):
    """What every link fault is read with."""

    sides: tuple[Side, Side]
    oneway: bool
    port: int | None
    flap_s: float
    swizzle_s: float


@attrs.frozen(kw_only=True)
class LinkFault(Verb):
    """Something between two sides; see the module's text."""

    reach: ClassVar[Reach] = Reach.LINKS

    sides: tuple[Side, Side]
    oneway: bool = False
    port: int | None = None
    flap_s: float = 0.0
    swizzle_s: float = 0.0

    def title(self) -> str:
        return f"{self.word} {'|'.join('+'.join(side) for side in self.sides)}"

    def between(self, mesh: "SimulatedMesh") -> Between:
        """Return the hosts and zones on each side: the name of a service stands for its instances."""
        first, second = (_hosts_of(mesh, side) for side in self.sides)
        return Between(source=first, target=second, both_ways=not self.oneway, port=self.port)

    def rule(self, mesh: "SimulatedMesh", between: Between) -> Rule:
        """Return the rule that judges what crosses."""
        raise NotImplementedError

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        network, between = mesh.world.network, self.between(mesh)
        if self.flap_s:
            steps = flapping(self.flap_s, mesh.world.now())
            return Intermittent(network, name, [self.rule(mesh, between)], steps)
        if self.swizzle_s:
            hosts = _one_by_one(mesh, between.source)
            rules = [self.rule(mesh, attrs.evolve(between, source=(host,))) for host in hosts]
            steps = swizzled(len(hosts), self.swizzle_s, mesh.world.now(), mesh.world.randomness.fresh("swizzle", name))
            return Intermittent(network, name, rules, steps)
        return RuleActive(network.add_rule(self.rule(mesh, between), name=name))


def link_keys(word: str, **more: Schema) -> Mapping[str, Schema]:
    """Return the keys of a link fault."""
    port = {"type": "integer", "minimum": 1, "maximum": PORT_MAX}
    return {word: SIDES, "oneway": FLAG, "port": port, "flap": ref("span"), "swizzle": ref("span"), **more}


def link_place(entry: VerbEntry, word: str) -> LinkPlace:
    """Read what link faults have in common."""
    flap, swizzle, port = entry.get("flap"), entry.get("swizzle"), entry.get("port")
    if flap is not None and swizzle is not None:
        swizzle.refuse("flap and swizzle exclude each other")
    number = port.count(least=1) if port is not None else None
    if port is not None and number is not None and number > PORT_MAX:
        port.refuse(f"must be at most {PORT_MAX}")
    return LinkPlace(
        sides=entry.sides(word),
        oneway=entry.flag("oneway"),
        port=number,
        flap_s=flap.span(positive=True) if flap is not None else 0.0,
        swizzle_s=swizzle.span(positive=True) if swizzle is not None else 0.0,
    )


def share_of(entry: VerbEntry, otherwise: float) -> float:
    """Read `share`."""
    cursor = entry.get("share")
    return cursor.percent() if cursor is not None else otherwise


def _hosts_of(mesh: "SimulatedMesh", side: Side) -> tuple[str, ...]:
    """Return the zones and hosts of a side."""
    found: list[str] = []
    for name in side:
        resolvers = name == DNS and name not in mesh.scenario.zones
        found += [resolver_name(zone) for zone in mesh.scenario.zones] if resolvers else mesh.hosts_of((name,))
    return tuple(found)


def _one_by_one(mesh: "SimulatedMesh", names: tuple[str, ...]) -> list[str]:
    """Return the hosts that names of zones and hosts stand for, each once."""
    found: dict[str, None] = {}
    for name in names:
        in_zone = [host.name for host in mesh.world.hosts.values() if host.zone == name]
        found.update(dict.fromkeys(in_zone or [name]))
    return list(found)
