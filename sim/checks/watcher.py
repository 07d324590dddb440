"""Checks that are on in every run, whatever the scenario promises: one file each in `sim.checks.always`.

A watcher looks once a second of virtual time, notes what must never happen, and says at the end what it found.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from mesh.telemetry.request_record import RequestRecord
from sim.checks.inspection import Seen
from sim.checks.views import ProxyView

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

FINDINGS_KEPT = 20


@attrs.frozen(kw_only=True)
class Finding:
    """One moment at which something happened that must not. `requests`: who, for people; `trace`: its trace id, if it has one."""

    at_s: float
    what: str
    requests: tuple[str, ...] = ()
    trace: str = ""


class Watcher:
    """The base of all of them. The first findings are kept, all are counted."""

    name: ClassVar[str]  # in reports: `no-plaintext`
    about: ClassVar[str]  # one line: what it promises

    def __init__(self, mesh: "SimulatedMesh") -> None:
        self.mesh = mesh
        self.findings: list[Finding] = []
        self.found = 0
        self.judged = 0  # how much it has looked at: a watcher that saw nothing has proven nothing

    @property
    def proxies(self) -> tuple[ProxyView, ...]:
        """How the sidecars of hosts with power stood at this look."""
        return self.mesh.inspection.proxies

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Look at the requests of the last second, and at whatever else of the mesh."""

    def finish(self, now_s: float) -> None:
        """Look a last time: the load is over, and what was under way has ended or been given up."""

    def note(self, what: str, at_s: float) -> None:
        """Keep what must not happen."""
        self._keep(Finding(at_s=at_s, what=what))

    def note_request(self, what: str, seen: Seen) -> None:
        """Keep what must not happen to a request, at the moment of its start."""
        record = seen.record
        began_s = record.started_at - self.mesh.origin_s
        named = f"{named_request(record)} at {seen.member}"
        self._keep(Finding(at_s=began_s, what=f"{named}: {what}", requests=(named,), trace=trace_id(record)))

    def _keep(self, finding: Finding) -> None:
        self.found += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(finding)


def named_request(record: RequestRecord) -> str:
    """Name a request, or a connection, for people: `GET /cart of spiffe://...`."""
    what = f"{record.method.decode('latin-1')} {record.path.decode('latin-1')}" if record.method else "a connection"
    return f"{what} of {record.peer}" if record.peer else what


def trace_id(record: RequestRecord) -> str:
    """Return the id of a request's trace in hexadecimal; none of what has no place in one. Source: W3C Trace Context 3.2."""
    parts = record.traceparent.split(b"-")
    return parts[1].decode("ascii") if len(parts) >= 4 else ""
