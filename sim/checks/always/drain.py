"""`drain`: a sidecar that drains finishes what is under way, and takes nothing once it has drained (S14).

It may give up only when its time is over; an application's requests that come in after it said that it was done are lost.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher
from sim.event_log import Event

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_ROUNDING_S = 0.001


class DrainAdmitsNothing(Watcher):
    """See the module's text."""

    name: ClassVar = "drain"
    about: ClassVar = "a drained sidecar has finished everything and takes nothing more"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._draining: dict[str, tuple[float, float]] = {}  # since when, and how long it may take
        self._drained: dict[str, float] = {}
        log = mesh.world.log
        log.on("sidecar.draining", self._on_draining)
        log.on("sidecar.drained", self._on_drained)
        log.on("host.started", self._on_started)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        if not self._drained:
            return
        for one in seen:
            drained_s = self._drained.get(one.member)
            if drained_s is not None and one.record.inbound:
                self.judged += 1
                if one.record.started_at > drained_s:
                    self.note_request(f"was taken after the drain ended at {drained_s - self.mesh.origin_s:.3f} s", one)

    def _on_draining(self, event: Event) -> None:
        self._draining[event.host] = event.at_s, event.fields["drain_s"]

    def _on_drained(self, event: Event) -> None:
        self._drained[event.host] = event.at_s
        began_s, allowed_s = self._draining.get(event.host, (event.at_s, 0.0))
        self.judged += 1
        finished, in_flight = event.fields["finished"], event.fields["in_flight"]
        at_s = event.at_s - self.mesh.origin_s
        if finished and in_flight:
            self.note(f"{event.host} says that it has drained, with {in_flight} requests in flight", at_s)
        if not finished and event.at_s - began_s < allowed_s - _ROUNDING_S:
            self.note(f"{event.host} gave its drain up after {event.at_s - began_s:.3f} s of {allowed_s:g} s", at_s)

    def _on_started(self, event: Event) -> None:
        self._draining.pop(event.host, None)
        self._drained.pop(event.host, None)
