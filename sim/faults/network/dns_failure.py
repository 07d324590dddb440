"""`dns-failure`: names cannot be resolved, or only slowly: the resolver is overloaded, a zone's delegation expired, a push
deleted records.

The value is an external service or a name, a list of them, or `all`. `answer` says what is told instead of the truth:
`nxdomain` (there is no such name), `servfail` (asked once more, at once), `silence` (asked again after 5 s, given up after 10
s). `delay` makes answers late; without `answer` they are right. `share` is the share of the answers, `zone` limits it to the
resolver of one zone.

It lies on the resolvers, so it begins and ends at once. `authority: true` puts it on the domain's own servers instead: what
resolvers remember hides it for up to a TTL, and the NXDOMAIN that they then remember outlives it (30 s; a SERVFAIL 5 s). A
sidecar that knew the addresses goes on with them (as Envoy does); one that starts now has no endpoint. Connections that are
open do not care: DNS outages are outages of whatever connects anew.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.active import Active
from sim.faults.links import latency_of
from sim.faults.network.link_fault import share_of
from sim.faults.network.name_fault import NAMES, NameFaultActive, hostnames, read_names, title_of
from sim.network.names import Code, NameFault
from sim.scenario.distributions import Distribution
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import FLAG, ZONE, ref
from sim.scenario.verb import Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_ANSWERS = (Code.NXDOMAIN.value, Code.SERVFAIL.value, Code.SILENCE.value)


@attrs.frozen(kw_only=True)
class DnsFailure(Verb):
    """Let the resolution of names fail or take its time."""

    word: ClassVar = "dns-failure"
    about: ClassVar = "names cannot be resolved, or slowly"
    keys: ClassVar = {
        "dns-failure": NAMES,
        "answer": {"enum": list(_ANSWERS)},
        "delay": ref("distribution"),
        "share": ref("percent"),
        "zone": ZONE,
        "authority": FLAG | {"description": "at the domain's servers, behind what resolvers remember"},
    }

    names: tuple[str, ...]  # none: all
    code: Code | None = None
    delay: Distribution | None = None
    share: float = 1.0
    zone: str = ""
    authority: bool = False

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        answer, zone = entry.get("answer"), entry.get("zone")
        if answer is None and "delay" not in entry:
            entry.cursors[cls.word].refuse("needs answer or delay", f"answers: {', '.join(_ANSWERS)}")
        if zone is not None:
            entry.names.refuse_unknown_zone(zone)
            if entry.flag("authority"):
                zone.refuse("zone and authority exclude each other", "a domain's servers answer all zones alike")
        return cls(
            names=read_names(entry, cls.word),
            code=Code(answer.choice(_ANSWERS)) if answer is not None else None,
            delay=entry.distribution("delay"),
            share=share_of(entry, 1.0),
            zone=zone.text() if zone is not None else "",
            authority=entry.flag("authority"),
        )

    def title(self) -> str:
        return title_of(self.word, self.names)

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        fault = NameFault(
            names=hostnames(mesh, self.names),
            zones=(self.zone,) if self.zone else (),
            authority=self.authority,
            code=self.code,
            delay=latency_of(self.delay) if self.delay is not None else None,
            probability=self.share,
        )
        return NameFaultActive(mesh.world.network.add_name_fault(fault, name=name))

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        if not draw.names.hostname_by_service:
            return None
        answer = _ANSWERS[draw.strength % len(_ANSWERS)]
        return {cls.word: draw.one_of(tuple(draw.names.hostname_by_service)), "answer": answer}
