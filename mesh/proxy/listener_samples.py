"""What one listener has counted, its connections, requests and policies, each under the scope that Envoy files it in."""

from collections.abc import Iterator

from mesh.policy.authorization import AuthorizationCounts
from mesh.policy.fault_injection import FaultCounts
from mesh.policy.rate_limit import RateLimitCounts
from mesh.proxy.listener import ProxyListener
from mesh.proxy.plan import HttpPlan
from mesh.telemetry.metrics import Sample
from mesh.telemetry.stat_scopes import (
    connection_rate_limit_scope,
    http_rate_limit_scope,
    http_scope,
    listener_http_scope,
    listener_scope,
    tcp_scope,
)
from mesh.telemetry.stats_text import StatsGroup


def listener_groups(listener: ProxyListener) -> Iterator[StatsGroup]:
    """Yield all groups of statistics of a listener."""
    plan, stats, address = listener.plan, listener.stats, str(listener.address)
    handle, name = plan.handle, plan.name
    yield StatsGroup(listener_scope(address), stats.listener_samples())
    if plan.connection_limiter is not None:
        refused = plan.connection_limiter.counts.rate_limited
        yield StatsGroup(connection_rate_limit_scope(name), [("rate_limited", {}, refused)])
    scope_of = http_scope if isinstance(handle, HttpPlan) else tcp_scope
    if plan.authorizer is not None:
        yield StatsGroup(scope_of(name, "rbac"), _authorization(plan.authorizer.counts))
    if not isinstance(handle, HttpPlan):
        yield StatsGroup(tcp_scope(name), stats.tcp_samples())
        return
    yield StatsGroup(http_scope(name), stats.http_samples(), stats.histograms())
    yield StatsGroup(listener_http_scope(address, name), stats.answer_samples())
    if handle.rate_limiter is not None:
        yield StatsGroup(http_rate_limit_scope(name), _rate_limit(handle.rate_limiter.limiter.counts))
    if handle.faults is not None:
        yield StatsGroup(http_scope(name, "fault"), _faults(handle.faults.injector.counts))


def _rate_limit(counts: RateLimitCounts) -> Iterator[Sample]:
    yield "enabled", {}, counts.enabled
    yield "ok", {}, counts.ok
    yield "rate_limited", {}, counts.rate_limited
    yield "enforced", {}, counts.enforced


def _authorization(counts: AuthorizationCounts) -> Iterator[Sample]:
    yield "allowed", {}, counts.allowed
    yield "denied", {}, counts.denied
    yield "shadow_denied", {}, counts.shadow_denied


def _faults(counts: FaultCounts) -> Iterator[Sample]:
    yield "delays_injected", {}, counts.delays_injected
    yield "aborts_injected", {}, counts.aborts_injected
    yield "response_rl_injected", {}, counts.response_rl_injected
    yield "active_faults", {}, counts.active
