"""What the files of a run are made from: the same for a simulated run and for one on real processes."""

from collections.abc import Mapping, Sequence

import attrs

from sim.checks.evidence import Evidence
from sim.event_log import Event
from sim.report.capture import Capture
from sim.report.result import RunResult


@attrs.frozen(kw_only=True)
class HostFacts:
    """One machine: where it is and whose. `workload` is empty for the control plane."""

    name: str
    zone: str
    workload: str
    address: str


@attrs.frozen(kw_only=True)
class Material:
    """One run that has ended. `epoch` is the date of the reactors' 0, in seconds since 1970."""

    result: RunResult
    evidence: Evidence
    events: Sequence[Event]
    hosts: Sequence[HostFacts]
    capture: Capture
    epoch: float

    def host_by_address(self) -> Mapping[str, HostFacts]:
        return {host.address: host for host in self.hosts}
