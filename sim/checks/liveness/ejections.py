"""Endpoints of the core that were ejected come back when their time is up, and breakers let requests through again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.checks.liveness.promise import LivenessPromise, listed
from sim.faults.core import Core

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState


class EjectionsEnd(LivenessPromise):
    """L3 of the list in `sim.checks.liveness.catalogue`.

    How long an ejection lasts is the policy's to say; late is one that lasts longer, by more than the interval in which
    the detector looks.
    """

    name = "ejections-end"
    about = "ejected endpoints of the core come back in time, breakers are not exhausted"

    def pending(self, now_s: float, core: Core) -> str:
        name_by_address = {host.address: name for name, host in self.mesh.world.hosts.items()}
        late = []
        for name, member in self.mesh.members.items():
            if name not in core or member.sidecar is None or not member.host.alive:
                continue
            for cluster in member.sidecar.clusters.values():
                for address in _overdue(cluster, now_s + self.mesh.origin_s):
                    if name_by_address.get(address, "") in core:
                        late.append(f"{name_by_address[address]} is still ejected at {name}")
                late += [f"{cluster.config.name} is out of {what} at {name}" for what in _exhausted(cluster)]
        return listed(late)


def _overdue(cluster: "ClusterState", now: float) -> Iterator[str]:
    """Yield the addresses of endpoints that should be back."""
    for endpoint in cluster.endpoints.values():
        health, policy = endpoint.health, cluster.config.outlier_detection
        if health is None or policy is None or not health.ejected:
            continue
        longest_s = max(policy.ejection_s_max, policy.base_ejection_s)
        ejection_s = min(policy.base_ejection_s * health.backoff, longest_s) + health.jitter_s
        if now > health.ejected_at + ejection_s + 2 * policy.interval_s:
            yield endpoint.address.host


def _exhausted(cluster: "ClusterState") -> Iterator[str]:
    """Yield what a breaker admits no more of. Limits of 0 are meant so, and connections may all be open and in use."""
    breaker, limits = cluster.breaker, cluster.breaker.limits
    if 0 < limits.requests_max <= breaker.requests:
        yield "requests"
    if 0 < limits.pending_requests_max <= breaker.pending_requests:
        yield "pending requests"
