"""How many instances a service should have, from the share of their places that are busy. Pure: `now` in seconds.

Target tracking: as many instances as bring the share to the target, up at once, down by one at a time after a calm minute.
Source: Kubernetes HorizontalPodAutoscaler (ratio of metric to target, tolerance 10 %, stabilisation before scaling down).
"""

import math

import attrs

from sim.scenario.topology import Autoscale

OBSERVE_S = 5.0
CALM_S = 60.0
TOLERANCE = 0.1


@attrs.define(eq=False)
class Autoscaler:
    """Decides for one service."""

    config: Autoscale
    _calm_since: float | None = None

    def decide(self, *, busy: float, instances: int, now: float) -> int:
        """Return the number of instances wanted; `busy` is the mean share of busy places of those there are."""
        config = self.config
        ratio = busy / config.target
        if abs(ratio - 1) <= TOLERANCE:
            ratio = 1.0
        wanted = min(config.most, max(config.least, math.ceil(instances * ratio - 1e-9)))
        if wanted >= instances:
            self._calm_since = None
            return wanted
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since < CALM_S:
            return instances
        self._calm_since = now
        return instances - 1
