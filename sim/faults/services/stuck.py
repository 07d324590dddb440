"""`stuck`: whoever gets a place stays in it: a deadlock, a lock never released, an exhausted pool of threads.

The places fill, then the queue, then requests are refused at once. The instance still accepts connections, so that TCP probes
find nothing wrong. When it ends, everybody goes on where they were.
"""

from typing import ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.services.service_fault import ServiceFault, read_target, service_keys
from sim.scenario.draw import Draw
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Stuck as Sticking


@attrs.frozen(kw_only=True)
class Stuck(ServiceFault):
    """Let nobody finish at a service, at its instances in one zone, or at one instance."""

    word: ClassVar = "stuck"
    about: ClassVar = "let nobody who has a place finish"
    keys: ClassVar = service_keys("stuck")

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = read_target(entry, cls.word)
        return cls(target=target, zone=zone)

    def ailment(self) -> Sticking:
        return Sticking()

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        target = draw.one_of(draw.names.instances if draw.strength < 6 else draw.services())
        return None if draw.names.code_of(target) == "actor" else {cls.word: target}
