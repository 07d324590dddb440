"""Carries out a scenario's timeline on a simulated mesh, at the moments written, and remembers what happened.

Owns: what is active now. Emits: occurrences, into the evidence, when they are over or the run is.
"""

from heapq import heappop, heappush

import attrs
import trio

from sim.assembly import SimulatedMesh
from sim.checks.evidence import Occurrence
from sim.faults.active import Active
from sim.scenario.timeline import TimelineEntry


@attrs.define(eq=False)
class _Begun:
    entry: TimelineEntry
    start_s: float
    active: Active
    event: int  # the number of its beginning, from which what it does follows


class Timeline:
    """See the module's text. Times are seconds of the scenario."""

    def __init__(self, mesh: SimulatedMesh, *, until_s: float) -> None:
        self.mesh = mesh
        self.until_s = until_s
        self._active: dict[int, _Begun] = {}
        # Of two things in one instant, what ends comes before what begins.
        self._due: list[tuple[float, int, int, bool]] = []
        for number, entry in enumerate(mesh.scenario.timeline):
            heappush(self._due, (entry.at_s, 1, number, True))
            if entry.is_fault:
                heappush(self._due, (entry.end_s(until_s), 0, number, False))

    def titles(self) -> list[str]:
        """Name what is active now."""
        return [begun.entry.title() for begun in self._active.values()]

    async def run(self, until_s: float) -> None:
        """Do everything that is planned before `until_s`, and wait for that moment."""
        while self._due and self._due[0][0] < until_s:
            due_s, _, number, begins = heappop(self._due)
            await trio.sleep_until(self.mesh.origin_s + due_s)
            if begins:
                self._begin(number, due_s)
            else:
                self._end(number, due_s)
        await trio.sleep_until(self.mesh.origin_s + until_s)

    def heal(self, core: frozenset[str], now_s: float) -> None:
        """Leave the hosts of a core alone from now on; what is outside stays broken until `end`.

        Faults that cannot leave them alone end. Changes still come at their time.
        """
        everything, log = core.issuperset(self.mesh.world.hosts), self.mesh.world.log
        log.record("core.healed", "timeline", hosts=" ".join(sorted(core)))
        for number, begun in list(self._active.items()):
            with log.because(begun.event):
                spared = not everything and begun.active.spare(core)
            if not spared:
                self._end(number, now_s)
        timeline = self.mesh.scenario.timeline
        self._due = sorted(due for due in self._due if not timeline[due[2]].is_fault)

    def end(self, now_s: float) -> None:
        """End what is active: the run is over."""
        for number in list(self._active):
            self._end(number, now_s)

    def _begin(self, number: int, now_s: float) -> None:
        entry = self.mesh.scenario.timeline[number]
        log = self.mesh.world.log
        event = log.record("timeline.begun", "timeline", what=entry.title())
        # The moment keeps the streams of two equal faults apart, and leaves them alone when others come or go.
        with log.because(event):
            active = entry.verb.begin(self.mesh, f"{entry.title()} at {entry.at_s:g}s")
        if entry.is_fault:
            self._active[number] = _Begun(entry, now_s, active, event)
        else:
            self._note(entry, now_s, now_s, active)

    def _end(self, number: int, now_s: float) -> None:
        begun = self._active.pop(number, None)
        if begun is not None:
            log = self.mesh.world.log
            with log.because(begun.event):
                begun.active.end()
                log.record("timeline.ended", "timeline", what=begun.entry.title())
            self._note(begun.entry, begun.start_s, now_s, begun.active)

    def _note(self, entry: TimelineEntry, start_s: float, end_s: float, active: Active) -> None:
        occurrence = Occurrence(entry=entry, start_s=start_s, end_s=end_s, bit=active.bit())
        self.mesh.evidence.occurrences.append(occurrence)
        self.mesh.evidence.occurrences.sort(key=lambda occurred: occurred.start_s)
