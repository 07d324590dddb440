"""What one listener does, compiled from its part of the snapshot: its routes, its policies, and where they lead."""

from collections.abc import Callable, Sequence

from mesh.config.snapshot import Backend, InboundListener, OutboundListener, Route
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import Authorizer
from mesh.policy.callers import CallerTable
from mesh.policy.header_changes import PreparedChanges
from mesh.policy.rate_limit import ConnectionLimiter
from mesh.policy.request_hash import HashSource, RequestHasher
from mesh.policy.retry import RetryRules
from mesh.policy.retry_budget import RateBudget
from mesh.policy.route_table import RouteTable
from mesh.policy.routing import PathMatchKind
from mesh.proxy.backends import NOWHERE, Backends
from mesh.proxy.cluster import ClusterState
from mesh.proxy.control import CallerSteering, steering
from mesh.proxy.filter_chain import OUTBOUND, inbound_filters
from mesh.proxy.forwarding import (
    ORIGINAL_HOST,
    ORIGINAL_PATH,
    OURS_INBOUND,
    OURS_OF_RESPONSES,
    OURS_OUTBOUND,
    expected_line,
)
from mesh.proxy.inbound_policies import InboundFaults, InboundRateLimiter
from mesh.proxy.plan import CallerSpans, HttpPlan, ListenerPlan, MirrorPlan, RoutePlan, TcpPlan

ClusterOf = Callable[[str], ClusterState]


def application_cluster(inbound: InboundListener) -> str:
    """Return the name of the cluster behind an inbound: its address, since two applications may share a port number."""
    return str(inbound.application)


def inbound_plan(
    inbound: InboundListener, cluster_of: ClusterOf, own_id: str, previous: ListenerPlan | None
) -> ListenerPlan:
    """Compile an inbound. What counts over time goes on from `previous`, the plan that this one replaces.

    Raises: ValueError with the reason where what it adds to answers would break them.
    """
    cluster = cluster_of(application_cluster(inbound))
    handle: HttpPlan | TcpPlan
    if inbound.protocol is Protocol.HTTP:
        handle = _inbound_http(inbound, cluster, None if previous is None else previous.handle)
    else:
        handle = TcpPlan(inbound=True, idle_s=inbound.timeouts.idle_s, backends=Backends([(cluster, 1)]))
    limiter = None if previous is None else previous.connection_limiter
    authorizer = None if previous is None else previous.authorizer
    return ListenerPlan(
        name=inbound.name,
        address=inbound.address,
        handle=handle,
        connection_limiter=None
        if inbound.connection_rate is None
        else ConnectionLimiter(inbound.connection_rate, limiter),
        tls_mode=inbound.tls_mode,
        tls_parameters=inbound.tls_parameters,
        authorizer=None
        if inbound.permissions is None
        else Authorizer(inbound.permissions, authorizer, unproven_allowed=inbound.tls_mode is TlsMode.PERMISSIVE),
        own_id=own_id,
    )


def _inbound_http(inbound: InboundListener, cluster: ClusterState, previous: HttpPlan | TcpPlan | None) -> HttpPlan:
    limiter, faults = (previous.rate_limiter, previous.faults) if isinstance(previous, HttpPlan) else (None, None)
    timeouts = inbound.timeouts
    route = Route(name=inbound.name, backends=(Backend(cluster=cluster.config.name),), timeouts=timeouts)
    by_caller = [
        (each.match, CallerSpans(timeouts=each.timeouts, expected_line=expected_line(each.timeouts.request_s, 0.0)))
        for each in inbound.caller_timeouts
    ]
    return HttpPlan(
        inbound=True,
        idle_s=timeouts.idle_s,
        headers_s=timeouts.request_headers_s,
        connection_s_max=timeouts.connection_s_max,
        filters=inbound_filters(inbound),
        rate_limiter=InboundRateLimiter(inbound.rate_limits, limiter) if inbound.rate_limits else None,
        faults=InboundFaults(inbound.faults, faults) if inbound.faults else None,
        routes=RouteTable([(route.match, _route_plan(route, lambda name: cluster, inbound=True))]),
        caller_spans=CallerTable(by_caller) if by_caller else None,
    )


def outbound_plan(outbound: OutboundListener, cluster_of: ClusterOf) -> ListenerPlan:
    """Compile an outbound, which has at least one route. Spans of its connections are those of the first.

    Raises: ValueError with the reason for a pattern or a change of headers that cannot be used.
    """
    first = outbound.routes[0]
    by_connection = [policy for policy in first.hash_policies if policy.source is HashSource.CONNECTION]
    handle: HttpPlan | TcpPlan
    if outbound.protocol is Protocol.HTTP:
        handle = HttpPlan(
            inbound=False,
            idle_s=first.timeouts.idle_s,
            headers_s=first.timeouts.request_headers_s,
            connection_s_max=first.timeouts.connection_s_max,
            filters=OUTBOUND,
            routes=RouteTable(
                [(route.match, _route_plan(route, cluster_of, inbound=False)) for route in outbound.routes]
            ),
        )
    else:
        handle = TcpPlan(
            inbound=False,
            idle_s=first.timeouts.idle_s,
            backends=_backends(first.backends, cluster_of),
            hasher=RequestHasher(by_connection) if by_connection else None,
            connects_max=outbound.retry_connects_max + 1,
        )
    return ListenerPlan(name=outbound.name, address=outbound.address, handle=handle)


def _backends(backends: Sequence[Backend], cluster_of: ClusterOf) -> Backends:
    return Backends([(cluster_of(each.cluster) if each.cluster else None, each.weight) for each in backends])


def _route_plan(route: Route, cluster_of: ClusterOf, *, inbound: bool) -> RoutePlan:
    backends = NOWHERE if route.redirect is not None else _backends(route.backends, cluster_of)
    cluster = backends.only
    rules = RetryRules(
        route.retry, request_timeout_s=route.timeouts.request_s, rate_budget=_rate_budget(route, cluster)
    )
    spans = steering(route.timeouts, rules)
    requests, responses = PreparedChanges(route.request_headers), PreparedChanges(route.response_headers)
    rewrite = route.rewrite
    path_rewrite = None if rewrite is None else rewrite.path
    removes = OURS_INBOUND if inbound else OURS_OUTBOUND
    if path_rewrite is not None:
        removes |= {ORIGINAL_PATH}
    if rewrite is not None and rewrite.hostname:
        removes |= {ORIGINAL_HOST}
    hasher = RequestHasher(route.hash_policies) if route.hash_policies else None
    path = route.match.path
    return RoutePlan(
        name=route.name,
        prefix=path.value.encode() if path.kind is PathMatchKind.PREFIX else b"",
        redirect=route.redirect,
        cluster=cluster,
        backends=backends,
        timeouts=route.timeouts,
        retry=spans.retry,
        per_try_s=spans.per_try_s,
        per_try_idle_s=spans.per_try_idle_s,
        by_headers=None if inbound else CallerSteering(route.retry, route.timeouts, rules),
        timed_methods=rules.timed_methods,
        extras=hasher is not None or (spans.retry is not None and rules.rate_budget is not None),
        hasher=hasher,
        mirrors=tuple(MirrorPlan(cluster=cluster_of(each.cluster), percent=each.percent) for each in route.mirrors),
        host=b"" if rewrite is None else rewrite.hostname.encode(),
        rewrite=path_rewrite,
        request_lines=requests.lines,
        expected_line=expected_line(
            route.timeouts.request_s, spans.per_try_s, hedges=spans.retry is not None and rules.hedges
        ),
        request_removes=removes | requests.removes if requests.removes else removes,
        response_lines=responses.lines,
        response_removes=OURS_OF_RESPONSES | responses.removes if responses.removes else OURS_OF_RESPONSES,
    )


def _rate_budget(route: Route, cluster: ClusterState | None) -> RateBudget | None:
    """Return the cluster's budget for such policies, which outlives this plan; None: the route has its own, or none."""
    budget = route.retry.budget
    if cluster is None or budget is None or budget.rate_per_s_min is None:
        return None
    kept = cluster.rate_budgets.get(budget)
    if kept is None:
        kept = cluster.rate_budgets[budget] = RateBudget(budget.percent, budget.rate_per_s_min)
    return kept
