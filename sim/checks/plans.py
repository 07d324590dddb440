"""What a proxy's configuration lets its requests do, read from its snapshot by code of our own; and when it counted.

A watcher judges a request only by a configuration that was certainly in force: one that was seen at a look before the
request began, and not replaced before the next look. What begins in the second of a change is left unjudged.
"""

import ipaddress
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

import attrs

from mesh.config.snapshot import (
    Cluster,
    ClusterEndpoints,
    InboundListener,
    OutboundListener,
    Route,
    Snapshot,
)
from mesh.model.traffic import Protocol
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryPolicy
from mesh.policy.timeout import Timeouts
from sim.checks.views import ProxyView

RouteKey = tuple[str, str]  # route, cluster: what a record says


@attrs.frozen(kw_only=True)
class RouteSpan:
    """What one route allows a request: seconds (inf: for ever) and tries. Of several routes of one name the most generous."""

    request_s: float
    tries_max: int

    def widened(self, other: "RouteSpan") -> "RouteSpan":
        return RouteSpan(request_s=max(self.request_s, other.request_s), tries_max=max(self.tries_max, other.tries_max))


class ProxyPlan:
    """One snapshot, as watchers ask about it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        parts = snapshot.parts.values()
        self.clusters: Mapping[str, Cluster] = {part.name: part for part in parts if isinstance(part, Cluster)}
        self.inbounds = [part for part in parts if isinstance(part, InboundListener)]
        self.outbounds = [part for part in parts if isinstance(part, OutboundListener)]

    @cached_property
    def spans(self) -> Mapping[RouteKey, RouteSpan]:
        """What is allowed to the requests of each route."""
        spans: dict[RouteKey, RouteSpan] = {}
        for inbound in self.inbounds:
            longest_s = max(map(_request_s, (inbound.timeouts, *(each.timeouts for each in inbound.caller_timeouts))))
            spans[inbound.name, str(inbound.application)] = RouteSpan(request_s=longest_s, tries_max=1)
        for outbound in self.outbounds:
            http = outbound.protocol is Protocol.HTTP
            for route in outbound.routes:
                allowed = RouteSpan(request_s=_request_s(route.timeouts), tries_max=1 + route.retry.retries_max)
                for backend in route.backends:
                    # Connections of opaque TCP leave no route in their records.
                    key = (route.name, backend.cluster) if http else ("", backend.cluster)
                    span = allowed if http else RouteSpan(request_s=math.inf, tries_max=1 + outbound.retry_connects_max)
                    spans[key] = spans[key].widened(span) if key in spans else span
        return spans

    @cached_property
    def retry_policies(self) -> Mapping[str, tuple[RetryPolicy, ...]]:
        """Return the policies by which requests to each cluster are retried."""
        policies: dict[str, dict[RetryPolicy, None]] = {}
        for route in self._http_routes():
            for backend in route.backends:
                policies.setdefault(backend.cluster, {})[route.retry] = None
        return {cluster: tuple(found) for cluster, found in policies.items()}

    @cached_property
    def addresses(self) -> Mapping[str, frozenset[str]]:
        """Return `ip:port` of all endpoints of each cluster; clusters with names among them are left out."""
        found: dict[str, frozenset[str]] = {str(each.application): _labels((each,)) for each in self.inbounds}
        for part in self.snapshot.parts.values():
            if isinstance(part, ClusterEndpoints) and all(_is_ip(each.address.host) for each in part.endpoints):
                found[part.cluster] = frozenset(str(each.address) for each in part.endpoints)
        return found

    @cached_property
    def mirrored(self) -> frozenset[str]:
        """Return the clusters that get copies of requests, by pumps that no request waits for."""
        return frozenset(mirror.cluster for route in self._http_routes() for mirror in route.mirrors)

    def limits(self, cluster: str) -> CircuitBreakingLimits | None:
        """Return what a cluster may hold at once."""
        found = self.clusters.get(cluster)
        if found is not None:
            return found.circuit_breaking
        return next((each.circuit_breaking for each in self.inbounds if str(each.application) == cluster), None)

    def outlier_detection(self, cluster: str) -> OutlierDetection | None:
        found = self.clusters.get(cluster)
        return None if found is None else found.outlier_detection

    def _http_routes(self) -> Iterable[Route]:
        for outbound in self.outbounds:
            if outbound.protocol is Protocol.HTTP:
                yield from outbound.routes


def _request_s(timeouts: Timeouts) -> float:
    spans = [span for span in (timeouts.request_s, timeouts.stream_s_max) if span > 0.0]
    return min(spans, default=math.inf)


def _labels(inbounds: Iterable[InboundListener]) -> frozenset[str]:
    return frozenset(str(inbound.application) for inbound in inbounds)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Span(NamedTuple):
    life: int
    since: float  # the look at which it was first seen
    until: float  # the last look at which it was still there
    plan: ProxyPlan


class Plans:
    """The plans of all proxies, now and just before. Times are the reactors'.

    `request_s_min`: no route that there was allowed a request less.
    """

    def __init__(self) -> None:
        self.request_s_min = math.inf
        self._now: dict[str, _Span] = {}
        self._before: dict[str, _Span] = {}

    def look(self, proxies: Iterable[ProxyView]) -> None:
        """Take in which configuration each proxy ran at the moment at which it was read."""
        for view in proxies:
            now = view.at
            span = self._now.get(view.member)
            if span is not None and span.plan.snapshot is view.snapshot and span.life == view.life:
                self._now[view.member] = _Span(span.life, span.since, now, span.plan)
                continue
            if span is not None and span.life == view.life:
                self._before[view.member] = span
            else:
                self._before.pop(view.member, None)
            plan = ProxyPlan(view.snapshot)
            self.request_s_min = min([self.request_s_min, *(span.request_s for span in plan.spans.values())])
            self._now[view.member] = _Span(view.life, now, now, plan)

    def at(self, member: str, moment: float) -> ProxyPlan | None:
        """Return what certainly was in force at a proxy; None: nobody can say."""
        span = self._now.get(member)
        if span is None:
            return None
        if moment >= span.since:
            return span.plan
        span = self._before.get(member)
        return span.plan if span is not None and span.since <= moment <= span.until else None

    def since(self, member: str, moment: float) -> ProxyPlan | None:
        """Return what certainly was in force at a proxy from a moment on, until now; None: nobody can say."""
        span = self._now.get(member)
        return span.plan if span is not None and moment >= span.since else None

    def steady(self, member: str) -> ProxyPlan | None:
        """Return what was in force all the time since the look before this one; None: it has changed."""
        span = self._now.get(member)
        return None if span is None or span.since == span.until else span.plan
