"""`breaker-limits`: no cluster holds more of anything than its circuit breaker allows (S6), at each look.

A limit that is lowered ends nothing: what was held before may stay. Each endpoint may always have one connection, so that
connections may exceed their limit by the number of endpoints.
"""

from collections.abc import Sequence
from typing import ClassVar

from sim.checks.inspection import Seen
from sim.checks.views import ClusterView
from sim.checks.watcher import Watcher


class BreakerLimits(Watcher):
    """See the module's text."""

    name: ClassVar = "breaker-limits"
    about: ClassVar = "no cluster holds more than its circuit breaker allows"

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        inspection = self.mesh.inspection
        for view in self.proxies:
            before = inspection.before(view)
            if before is None or len(before.clusters) != len(view.clusters):
                continue
            self.judged += len(view.clusters)
            # Of one configuration: the clusters stand in the same order.
            for now, known in zip(view.clusters, before.clusters, strict=True):
                limits = now.limits
                if (
                    now.requests > limits.requests_max
                    or now.pending > limits.pending_requests_max
                    or now.connections > limits.connections_max
                ):
                    self._judge(view.member, now, known, now_s)

    def _judge(self, member: str, now: ClusterView, before: ClusterView, now_s: float) -> None:
        limits = now.limits
        endpoints = max(now.endpoints, before.endpoints)
        for what, held, held_before, most in (
            ("requests", now.requests, before.requests, limits.requests_max),
            ("pending requests", now.pending, before.pending, limits.pending_requests_max),
            ("connections", now.connections, before.connections, limits.connections_max + endpoints),
        ):
            if held > max(most, held_before):
                self.note(f"{member} has {held} {what} to {now.name}, and {most} are allowed", now_s)
