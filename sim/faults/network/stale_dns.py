"""`stale-dns`: resolvers go on telling what was true when it began: a cache that ignores TTLs, a secondary that gets no
transfers, a domain moved while somebody still serves the old zone.

The value is an external service or a name, a list of them, or `all`. Whoever moved since is called where it was: an address
where nobody answers (connects end by their timeout, or after 127 s), or, worse, where somebody else does now. `zone` limits
it to one zone's resolver, so that one half of the callers follows the move and the other does not. Without the fault a move
is seen when what resolvers remember is over (`ttl` of the external service), and then after up to 5 s more, since sidecars
ask that often.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.network.name_fault import NAMES, NameFaultActive, hostnames, read_names, title_of
from sim.network.names import NameFault
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ZONE
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.frozen(kw_only=True)
class StaleDns(Verb):
    """Let resolvers tell what was true when this began."""

    word: ClassVar = "stale-dns"
    about: ClassVar = "resolvers tell what was true before"
    keys: ClassVar = {"stale-dns": NAMES, "zone": ZONE}

    names: tuple[str, ...]  # none: all
    zone: str = ""

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        zone = entry.get("zone")
        if zone is not None:
            entry.names.refuse_unknown_zone(zone)
        return cls(names=read_names(entry, cls.word), zone=zone.text() if zone is not None else "")

    def title(self) -> str:
        return title_of(self.word, self.names)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        names = mesh.world.network.names
        stale = hostnames(mesh, self.names) or names.known()
        fault = NameFault(
            names=stale,
            zones=(self.zone,) if self.zone else (),
            past={hostname: names.truth(hostname) for hostname in stale},
        )
        return NameFaultActive(mesh.world.network.add_name_fault(fault, name=name))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        hostnames = draw.names.hostname_by_service
        return {cls.word: draw.one_of(tuple(hostnames))} if hostnames else None
