"""`no-livelock`: events of a second are in proportion to the hosts and their requests (S16).

The clock itself ends a run in which time stands still; this finds what goes round and round while time creeps on: timers that
are re-armed for the next moment, peers that answer one another without end.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.checks.inspection import Seen
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

EVENTS_ANYWAY = 20_000  # A whole mesh may reconnect, or be told a new configuration, in one second.
EVENTS_PER_HOST = 1_000
EVENTS_PER_REQUEST = 1_000  # at one sidecar, with what its application does
EVENTS_PER_JOURNEY = 1_000
EVENTS_PER_PUMP = 200


class NoLivelock(Watcher):
    """See the module's text."""

    name: ClassVar = "no-livelock"
    about: ClassVar = "nothing goes round without end"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._looked_s = 0.0
        self._events = 0
        self._begun = 0

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        clock, begun = self.mesh.world.clock, self.mesh.evidence.users.begun
        events, self._events = clock.events_run - self._events, clock.events_run
        span_s, self._looked_s = now_s - self._looked_s, now_s
        journeys, self._begun = begun - self._begun, begun
        if span_s <= 0.0 or events == clock.events_run:
            return  # The first look counts from the beginning of the world.
        self.judged += 1
        pumps = sum([view.pumps for view in self.proxies])
        allowed = EVENTS_ANYWAY + EVENTS_PER_REQUEST * len(seen) + EVENTS_PER_JOURNEY * journeys
        allowed += int(max(span_s, 1.0) * (EVENTS_PER_HOST * len(self.mesh.world.hosts) + EVENTS_PER_PUMP * pumps))
        if events > allowed:
            self.note(
                f"{events} events in {span_s:g} s, for {len(seen)} requests on {len(self.mesh.world.hosts)} hosts",
                now_s,
            )
