"""`retries`: no request is tried more often than its route allows, and retries at once stay within their budget (S4).

How many retries a cluster may hold follows from its policies. A concurrency budget is a share of what was active when a retry
was granted; nobody saw that moment, so the share is taken of all that can have been active since the look before. A rate
budget is judged by the requests of its span. Opaque TCP has connects in the place of tries.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from mesh.policy.retry import RetryPolicy
from sim.checks.inspection import Seen
from sim.checks.steering import steers_by_headers
from sim.checks.views import ClusterView, ProxyView
from sim.checks.watcher import Watcher

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_UNLIMITED = 1 << 62


class Retries(Watcher):
    """See the module's text."""

    name: ClassVar = "retries"
    about: ClassVar = "tries and retries stay within their policy and budget"

    def __init__(self, mesh: "SimulatedMesh") -> None:
        super().__init__(mesh)
        self._steered = steers_by_headers(mesh.scenario)

    def observe(self, now_s: float, seen: Sequence[Seen]) -> None:
        plans = self.mesh.inspection.plans
        for one in seen:
            record = one.record
            if record.tries > 1:
                plan = plans.at(one.member, record.started_at)
                span = None if plan is None else plan.spans.get((record.route, record.cluster))
                if span is not None and record.tries > span.tries_max and not self._steered:
                    self.note_request(f"{record.tries} tries, and {span.tries_max} were allowed", one)
        self.judged += len(seen)
        inspection = self.mesh.inspection
        for view in self.proxies:
            before = inspection.before(view)
            for place, cluster in enumerate(view.clusters):
                if cluster.retries > 1 and before is not None:
                    self._judge(view, cluster, before.clusters[place], now_s)

    def _judge(self, view: ProxyView, now: ClusterView, before: ClusterView, now_s: float) -> None:
        plan = self.mesh.inspection.plans.steady(view.member)
        policies = () if plan is None else plan.retry_policies.get(now.name, ())
        if not policies:
            return
        newcomers = now.tries_total + now.pending_total - before.tries_total - before.pending_total
        active_max = before.requests + before.pending + newcomers
        allowed = max(retries_max(policy, active_max, now.limits.retries_max) for policy in policies)
        if now.retries > max(allowed, before.retries):
            what = f"{now.retries} retries to {now.name} at once, and {allowed} were allowed"
            self.note(f"{view.member}: {what}", now_s)


def retries_max(policy: RetryPolicy, active: int, breaker_max: int) -> int:
    """Return how many retries a policy lets a cluster hold while `active` requests are under way."""
    budget = policy.budget
    if budget is None:
        return breaker_max
    if budget.rate_per_s_min is not None:
        return _UNLIMITED
    return max(budget.concurrency_min, int(active * budget.percent / 100.0))
