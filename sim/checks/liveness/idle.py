"""A mesh without load is quiet: what happens in it are timers that come again and again, not work that makes work.

Heartbeats, probes and ticks of each host are bounded, and they do not grow. A loop without pause, a timer that starts two, or a
retry that nobody waits for shows here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from sim.checks.evidence import Verdict
from sim.checks.inspection import Seen
from sim.checks.liveness.promise import listed

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

LOOK_S = 10.0
EVENTS_PER_HOST_S_MAX = 40.0
_GROWTH_MAX = 1.2
_GROWTH_FREE = 200


class IdleIsQuiet:
    """L9 of the list in `sim.checks.liveness.catalogue`. Judged once everything is healed and the load is over."""

    name = "idle-is-quiet"
    about = "without load only timers of each host run, and their number does not grow"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        self._mesh = mesh
        self._requests: list[str] = []
        self._began = 0.0  # in seconds of the reactors' clock

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Note the requests that nobody made."""
        self._requests += [
            f"{member}: {record.path.decode('latin-1')}"
            for member, _, record in seen
            if record.method and record.started_at >= self._began
        ]

    async def judge(self) -> Verdict:
        """Watch for twice LOOK_S."""
        mesh, self._began = self._mesh, trio.current_time()
        mesh.inspection.observers.append(self)
        counts, waiting = [mesh.world.clock.events_run], [len(mesh.world.clock.heap)]
        for _ in range(2):
            await trio.sleep(LOOK_S)
            counts.append(mesh.world.clock.events_run)
            waiting.append(len(mesh.world.clock.heap))
        first, second = counts[1] - counts[0], counts[2] - counts[1]
        rate = second / LOOK_S / max(len(mesh.world.hosts), 1)
        problems = []
        if self._requests:
            problems.append(f"{len(self._requests)} requests without load ({listed(self._requests)})")
        if rate > EVENTS_PER_HOST_S_MAX:
            problems.append(f"more than {EVENTS_PER_HOST_S_MAX:g} events a second and host")
        if second > first * _GROWTH_MAX + _GROWTH_FREE:
            problems.append(f"{second} events in {LOOK_S:g}s after {first}")
        if waiting[2] > waiting[1] * _GROWTH_MAX + _GROWTH_FREE:
            problems.append(f"{waiting[2]} timers after {waiting[1]}")
        detail = "; ".join([self.about, *problems])
        return Verdict(name=self.name, ok=not problems, value=f"{rate:.1f}/s a host", detail=detail)
