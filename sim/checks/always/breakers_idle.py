"""`breakers-idle`: a proxy without work holds nothing of its circuit breakers (S6, S13): what was taken was given back, once.

Looked at whenever a proxy has nothing in flight, and at the end. Copies of requests have no request that waits for them:
clusters that get some are judged at the end alone. Below zero is wrong at any time.
"""

from collections.abc import Sequence
from typing import ClassVar

from sim.checks.inspection import Seen
from sim.checks.views import ClusterView, ProxyView
from sim.checks.watcher import Watcher


class BreakersIdle(Watcher):
    """See the module's text."""

    name: ClassVar = "breakers-idle"
    about: ClassVar = "a proxy without work holds nothing of its circuit breakers"

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        for view in self.proxies:
            if not view.in_flight:
                self._judge(view, now_s, copies=False)
            for cluster in view.clusters:
                if min(cluster.pending, cluster.requests, cluster.retries, cluster.connections) < 0:
                    self.note(f"{view.member} gave back more than it took of {cluster.name}", now_s)

    def finish(self, now_s: float) -> None:
        for view in self.proxies:
            if not view.in_flight:
                self._judge(view, now_s, copies=True)

    def _judge(self, view: ProxyView, now_s: float, *, copies: bool) -> None:
        self.judged += 1
        for cluster in view.clusters:
            if cluster.held and (copies or not self._is_mirrored(view, cluster)):
                held = f"{cluster.pending} pending, {cluster.requests} requests, {cluster.retries} retries"
                self.note(f"{view.member} has no work, and its breaker for {cluster.name} holds {held}", now_s)

    def _is_mirrored(self, view: ProxyView, cluster: ClusterView) -> bool:
        """Does, or did a while ago, the cluster get copies of requests?"""
        inspection = self.mesh.inspection
        plan = inspection.plans.steady(view.member)
        return plan is None or cluster.name in plan.mirrored
