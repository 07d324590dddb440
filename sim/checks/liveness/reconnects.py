"""A storm of reconnections decays: whoever lost a connection opens one again, with pauses, and then keeps it."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.checks.inspection import Seen
from sim.checks.liveness.promise import RECENT_S, LivenessPromise
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_TIMES_USUAL = 3.0
_FREE_PER_HOST = 1.0  # connections a host may always open in RECENT_S: health checks, rotations, pools that breathe


class ReconnectsDecay(LivenessPromise):
    """L7 of the list in `sim.checks.liveness.catalogue`. Counts attempts between hosts, within the core once there is one."""

    name = "reconnects-decay"
    about = f"connections are opened at most {_TIMES_USUAL:g} times as often as before the first fault"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._first_s = min((e.at_s for e in mesh.scenario.timeline if e.is_fault), default=mesh.scenario.duration_s)
        self._begun: deque[int] = deque(maxlen=int(RECENT_S) + 1)  # in all, at each look
        self._begun_in_core: deque[int] = deque(maxlen=int(RECENT_S) + 1)
        self._usual = 0  # the most in RECENT_S after the warm-up, before the first fault

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Count what was opened, as long as it shows what is usual."""
        if now_s > self._first_s:
            return
        self._begun.append(self.mesh.world.network.connections_begun())
        if now_s - len(self._begun) + 1 >= self.mesh.scenario.warmup_s:
            self._usual = max(self._usual, self._begun[-1] - self._begun[0])

    def pending(self, now_s: float, core: Core) -> str:
        # Whoever is outside may be asked in vain again and again: that is no storm, and nobody can end it.
        self._begun_in_core.append(self.mesh.world.network.connections_begun(core.hosts))
        opened = self._begun_in_core[-1] - self._begun_in_core[0]
        allowed = _TIMES_USUAL * self._usual + _FREE_PER_HOST * len(core.hosts)
        return "" if opened <= allowed else f"{opened} connections in {RECENT_S:g}s, {self._usual} were usual"
