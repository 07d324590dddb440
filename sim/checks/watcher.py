"""Checks that are on in every run, whatever the scenario promises: one file each in `sim.checks.always`.

A watcher looks once a second of virtual time, notes what must never happen, and says at the end what it found.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from sim.checks.inspection import Seen

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

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Look at the requests of the last second, and at whatever else of the mesh."""

    def finish(self, now_s: float) -> None:
        """Look a last time: the load is over, and what was under way has ended or been given up."""

    def note(self, finding: Finding) -> None:
        """Keep what must not happen."""
        self.found += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(finding)
