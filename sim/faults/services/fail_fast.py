"""`fail-fast`: instances answer errors at once, before any queue: a lost secret, a full disk, a bad start.

Fast answers look like idle places. Least-request and PEWMA balancing send such an instance more than its share, so that one
bad instance of ten fails far more than a tenth of the requests; outlier detection is what ends it.
Source: Envoy `LEAST_REQUEST`; Amazon Builders' Library, "Implementing health checks" (black holes).
"""

from typing import ClassVar, Self

import attrs

from mesh.resources.documents import Value
from sim.faults.services.service_fault import ServiceFault, read_target, service_keys
from sim.scenario.draw import Draw
from sim.scenario.failure_reader import read_failures
from sim.scenario.schema_parts import ref
from sim.scenario.topology import Failure
from sim.scenario.verb_entry import VerbEntry
from sim.workload.condition import Failing

_ALWAYS_503 = (Failure(status=503, share=1.0),)


@attrs.frozen(kw_only=True)
class FailFast(ServiceFault):
    """Answer errors at once: all requests with 503, or as `errors` says."""

    word: ClassVar = "fail-fast"
    about: ClassVar = "answer errors at once, before any queue"
    keys: ClassVar = service_keys("fail-fast", errors=ref("errors"))

    failures: tuple[Failure, ...] = _ALWAYS_503

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        target, zone = read_target(entry, cls.word, kinds=("http",))
        errors = entry.get("errors")
        return cls(target=target, zone=zone, failures=read_failures(errors) if errors is not None else _ALWAYS_503)

    def ailment(self) -> Failing:
        return Failing(failures=self.failures, at_once=True)

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        http = [name for name in draw.names.instances if draw.names.kind_of(name) == "http"]
        http = [name for name in http if draw.names.code_of(name) != "actor"]
        return {cls.word: draw.one_of(http), "errors": {"503": draw.share(0.1, 1.0)}} if http else None
