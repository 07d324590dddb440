"""How many instances a service should have, from the share of their places that are busy. Pure: `now` in seconds.

Target tracking: as many instances as bring the share to the target, up at once, down by one at a time after a calm while.
Source: Kubernetes HorizontalPodAutoscaler (ratio of metric to target, tolerance 10 %, stabilisation before scaling down).
"""

import math
from collections import deque

import attrs

from sim.scenario.topology import Autoscale

OBSERVE_S = 5.0
TOLERANCE = 0.1


@attrs.define(eq=False)
class Autoscaler:
    """Decides for one service."""

    config: Autoscale
    _calm_since: float | None = None

    def decide(self, *, measured: float, instances: int, now: float) -> int:
        """Return the number of instances wanted; `measured` is the mean of the metric over those there are, a share."""
        config = self.config
        ratio = measured / config.target
        if abs(ratio - 1) <= TOLERANCE:
            ratio = 1.0
        wanted = min(config.most, max(config.least, math.ceil(instances * ratio - 1e-9)))
        if wanted >= instances:
            self._calm_since = None
            return wanted
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since < config.calm_s:
            return instances
        self._calm_since = now
        return instances - 1


@attrs.define(eq=False)
class Quota:
    """How many instances can be started: `count` (None: any number) within any `span_s`."""

    count: int | None
    span_s: float
    _started: deque[float] = attrs.field(factory=deque)  # moments within the last span

    def take(self, wanted: int, *, now: float) -> int:
        """Return how many of those that are wanted can be started now; they count as started."""
        if self.count is None:
            return wanted
        while self._started and self._started[0] <= now - self.span_s:
            self._started.popleft()
        granted = min(wanted, self.count - len(self._started))
        self._started.extend([now] * granted)
        return granted
