"""The course of a judged run, once its mesh stands: safety with all faults, a healed core, the drain, and what is left over.

Without `phases` in the scenario nothing is healed before the end of the load. In all runs everything is healed then, what is
under way may end, and the mesh has a bounded time to be whole again; only a mesh that is not whole at once takes any of it.
"""

from collections.abc import Sequence

import trio

from sim.assembly import SimulatedMesh
from sim.checks.evidence import Verdict
from sim.checks.liveness.catalogue import PROMISES
from sim.checks.liveness.idle import IdleIsQuiet
from sim.checks.liveness.promise import LivenessPromise
from sim.checks.liveness.settled import leftovers, why_not_connected
from sim.checks.liveness.watch import LivenessWatch
from sim.checks.wording import format_rounded
from sim.faults.core import Core, choose_core
from sim.faults.timeline import Timeline

DRAIN_S_MAX = 60.0
SETTLE_S_MAX = 60.0  # Longer than the longest pause between two tries to connect.
_POLL_S = 0.1


class Course:
    """Owns: what is done when. Emits: verdicts on what must come about, of use once `run` has ended."""

    def __init__(
        self,
        mesh: SimulatedMesh,
        timeline: Timeline,
        *,
        until_s: float,
        promises: Sequence[type[LivenessPromise]] = PROMISES,
        judges_idle: bool = True,
    ) -> None:
        """`promises`: what must come about in a healed core; `judges_idle`: that a mesh without load is quiet, too."""
        self._mesh = mesh
        self._timeline = timeline
        self._until_s = until_s
        self._judges_idle = judges_idle
        self._liveness: LivenessWatch | None = None
        self.verdicts: list[Verdict] = []
        phases = mesh.scenario.phases
        if phases is not None:
            self._liveness = LivenessWatch(mesh, promises)
            mesh.inspection.observers.append(self._liveness)

    async def run(self) -> None:
        """Go through it. Call when the mesh stands and before its load begins."""
        mesh, timeline, phases = self._mesh, self._timeline, self._mesh.scenario.phases
        if phases is not None and self._liveness is not None and phases.heal_s < self._until_s:
            await timeline.run(phases.heal_s)
            hosts = choose_core(mesh, phases)
            timeline.heal(hosts, phases.heal_s)
            permanent = tuple(timeline.titles())
            core = Core(hosts=hosts, healed_s=phases.heal_s, due_s=phases.due_s, permanent=permanent)
            self._liveness.core = core
        await timeline.run(self._until_s)
        timeline.end(self._until_s)
        await self._drain()
        await self._settle()
        if self._liveness is not None:
            self.verdicts[:0] = self._liveness.verdicts()
            if self._judges_idle:
                self.verdicts.append(await IdleIsQuiet(mesh).judge())

    async def _drain(self) -> None:
        """Let what is under way end, for a while."""
        with trio.move_on_after(DRAIN_S_MAX):
            while True:
                await trio.sleep(_POLL_S)
                if not self._mesh.busy():
                    break

    async def _settle(self) -> None:
        """Wait until the mesh is whole and empty, for a while; note what became of it."""
        mesh = self._mesh
        began_s = trio.current_time()
        connected_s = emptied_s = began_s
        while True:
            unconnected, left = why_not_connected(mesh), leftovers(mesh)
            now_s = trio.current_time()
            connected_s = now_s if unconnected else connected_s
            emptied_s = now_s if left else emptied_s
            if not (unconnected or left) or now_s >= began_s + SETTLE_S_MAX:
                break
            await trio.sleep(_POLL_S)
        within = f"within {SETTLE_S_MAX:g}s after the load"
        connected = f"every proxy runs the newest configuration {within}"
        empty = f"no request, and nothing that served one, is left over {within}"
        self.verdicts = [
            self._verdict("all-connected", connected, unconnected, connected_s - began_s),
            self._verdict("nothing-left", empty, left, emptied_s - began_s),
        ]

    def _verdict(self, name: str, about: str, reason: str, took_s: float) -> Verdict:
        if not reason:
            value = "at once" if took_s == 0 else f"after {format_rounded(took_s + _POLL_S)}"
            return Verdict(name=name, ok=True, value=value, detail=about, always=True)
        near = self._mesh.evidence.nearby(self._until_s)
        detail = f"{about}; {reason}" + (f" ({near})" if near else "")
        return Verdict(
            name=name, ok=False, value="pending", detail=detail, first_s=self._until_s, near=near, always=True
        )
