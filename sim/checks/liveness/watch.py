"""Asks every promise once a second whether it still waits for something, from the healing of a core until it must be well."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from sim.checks.evidence import Verdict
from sim.checks.inspection import LOOK_S, Seen
from sim.checks.liveness.catalogue import PROMISES
from sim.checks.liveness.promise import LivenessPromise
from sim.checks.wording import format_moment, format_rounded
from sim.faults.core import Core

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class _Asked:
    promise: LivenessPromise
    reason: str = ""  # as of the last time; empty: it has come about
    waited_until_s: float | None = None  # when it was last pending
    pending_since_s: float = 0.0


class LivenessWatch:
    """An observer of a run. `core`: set by the course when it is healed; without one nothing is judged."""

    def __init__(self, mesh: "SimulatedMesh", promises: Sequence[type[LivenessPromise]] = PROMISES) -> None:
        self.core: Core | None = None
        self._mesh = mesh
        self._asked = [_Asked(promise(mesh)) for promise in promises]
        self._looked_s = 0.0

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        """Let everybody look; once there is a core, ask what is still missing."""
        for asked in self._asked:
            asked.promise.observe(now_s, seen)
        core = self.core
        if core is None or not core.healed_s < now_s <= core.due_s + LOOK_S / 2:
            return
        self._looked_s = now_s
        for asked in self._asked:
            reason = asked.promise.pending(now_s, core)
            if reason and not asked.reason:
                asked.pending_since_s = now_s
            if reason:
                asked.waited_until_s = now_s
            asked.reason = reason

    def verdicts(self) -> list[Verdict]:
        """Return what became of each promise."""
        core = self.core
        if core is None or self._looked_s < core.due_s - LOOK_S:
            name_about = [(asked.promise.name, asked.promise.about) for asked in self._asked]
            detail = "the run ended before the core had to be well"
            return [
                Verdict(name=name, ok=True, value="not judged", detail=f"{about}; {detail}")
                for name, about in name_about
            ]
        return [self._verdict(asked, core) for asked in self._asked]

    def _verdict(self, asked: _Asked, core: Core) -> Verdict:
        promise, within_s = asked.promise, core.due_s - core.healed_s
        wanted = f"<= {format_rounded(within_s)}; {promise.about}"
        if not asked.reason:
            took_s = 0.0 if asked.waited_until_s is None else asked.waited_until_s + LOOK_S - core.healed_s
            return Verdict(
                name=promise.name,
                ok=True,
                value=f"{'after ' + format_rounded(took_s) if took_s else 'at once'}",
                detail=wanted,
            )
        near = core.permanent[-1] if core.permanent else self._mesh.evidence.nearby(core.healed_s)
        since = format_moment(max(asked.pending_since_s - LOOK_S, core.healed_s))
        return Verdict(
            name=promise.name,
            ok=False,
            value="pending",
            detail=f"{wanted}; since {since}: {asked.reason}" + (f" ({near})" if near else ""),
            first_s=core.due_s,
            near=near,
            requests=promise.requests,
            trace=promise.trace,
        )
