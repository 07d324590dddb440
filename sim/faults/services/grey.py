"""`grey`: slow for some callers only, while health checks and everybody else see nothing.

The failure that monitoring misses: a bad link of one rack, one tenant's shard, one code path. Whom it concerns: the callers
(`callers`: services and workloads; the application knows them by what its sidecar says of their identity, so not where
`tls: none`), a `share` of the requests, or a share of those callers' requests.
Source: Huang et al., Gray Failure: The Achilles' Heel of Cloud-Scale Systems, HotOS 2017.
"""

from typing import ClassVar, Self

import attrs

from mesh.resources.documents import Value, suggest
from sim.faults.services.service_fault import ServiceFault, read_target, service_keys
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import list_of, ref, text
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Greyness


@attrs.frozen(kw_only=True)
class Grey(ServiceFault):
    """Multiply the work of a service for some of its callers, or for a share of its requests."""

    word: ClassVar = "grey"
    about: ClassVar = "multiply the work for some callers only"
    keys: ClassVar = service_keys(
        "grey",
        factor={"type": "number", "exclusiveMinimum": 1},
        callers=list_of(text("a service or workload"), least=1),
        share=ref("percent"),
    )
    required: ClassVar = ("factor",)

    factor: float = 1.0
    callers: tuple[str, ...] = ()
    share: float = 1.0

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = read_target(entry, cls.word)
        factor = entry.cursors["factor"].number() if "factor" in entry else 2.0
        if factor <= 1:
            entry.cursors["factor"].refuse("must be above 1")
        if "callers" not in entry and "share" not in entry:
            entry.cursors[cls.word].refuse("needs callers or share", "slow makes it slow for everybody")
        if "callers" in entry and entry.names.kind_of(target) != "http":
            entry.cursors["callers"].refuse("a database does not know its callers", "write share: 10%")
        share = entry.cursors["share"].percent() if "share" in entry else 1.0
        return cls(target=target, zone=zone, factor=factor, callers=_callers(entry), share=share)

    def ailment(self) -> Greyness:
        return Greyness(factor=self.factor, callers=self.callers, share=self.share)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        target = draw.one_of([*draw.services(), *draw.names.instances])
        if draw.names.code_of(target) == "actor":
            return None
        return {cls.word: target, "factor": draw.between(10, 200), "share": draw.share(0.01, 0.5)}


def _callers(entry: VerbEntry) -> tuple[str, ...]:
    if "callers" not in entry:
        return ()
    allowed = (*entry.names.kind_by_service, *entry.names.headers_by_workload)
    found = []
    for element in entry.cursors["callers"].elements():
        name = element.text()
        if name and name not in allowed:
            element.refuse(f"unknown caller '{name}'", suggest(name, allowed) or f"known: {', '.join(allowed)}")
        found.append(name)
    return tuple(found)
