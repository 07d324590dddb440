"""What stays broken outside does not stop the core: every service of it goes on working."""

from bisect import bisect_left

from sim.checks.liveness.promise import RECENT_S, LivenessPromise, listed
from sim.faults.core import Core

_USUAL_MIN = 20  # Of services that get fewer requests in RECENT_S, silence says nothing.


class CoreServes(LivenessPromise):
    """L8 of the list in `sim.checks.liveness.catalogue`. That users are served well is `goodput-returns`' business."""

    name = "core-serves"
    about = "every service that worked before works on in the core"

    def pending(self, now_s: float, core: Core) -> str:
        since_s, stuck = now_s - RECENT_S, []
        for service in self.mesh.scenario.services:
            before_s = max(core.healed_s, RECENT_S)
            usual = self._reached(service.name, 0.0, core.healed_s) * RECENT_S / before_s
            if usual >= _USUAL_MIN and not self._reached(service.name, since_s, now_s, core):
                stuck.append(service.name)
        return f"no request reached {listed(stuck)} for {RECENT_S:g}s" if stuck else ""

    def _reached(self, service: str, since_s: float, until_s: float, core: Core | None = None) -> int:
        """Count the requests that reached instances (of the core) between two moments of the run."""
        origin_s, count = self.mesh.origin_s, 0
        for arrival, moments in self.mesh.evidence.services.arrivals.items():
            if arrival.service == service and (core is None or arrival.instance in core):
                count += bisect_left(moments, until_s + origin_s) - bisect_left(moments, since_s + origin_s)
        return count
