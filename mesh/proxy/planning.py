"""From a snapshot to plans: what each listener does, and which clusters that takes. Opens and closes nothing."""

from collections.abc import Callable, Mapping

import attrs

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    Origination,
    OutboundListener,
    Route,
    Snapshot,
    part_key,
)
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.authorization import Authorizer
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.retry import RetryRules
from mesh.proxy.cluster import ClusterState
from mesh.proxy.filter_chain import INBOUND, OUTBOUND
from mesh.proxy.plan import HttpPlan, ListenerPlan, RoutePlan, TcpPlan

ClusterOf = Callable[[str], ClusterState]


@attrs.frozen(kw_only=True)
class ClusterParts:
    """All that a snapshot says of one cluster."""

    config: Cluster
    endpoints: tuple[Endpoint, ...]
    origination: Origination | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(endpoint.address.host for endpoint in self.endpoints))


@attrs.frozen(eq=False)
class Planned:
    """The plan of one listener, and what it was made from."""

    part: InboundListener | OutboundListener
    own_id: str
    plan: ListenerPlan


def cluster_parts(snapshot: Snapshot) -> dict[str, ClusterParts]:
    """Return all clusters of a snapshot with their endpoints, the local applications of its inbounds among them."""
    parts: dict[str, ClusterParts] = {}
    for cluster in snapshot.of_kind("cluster"):
        assert isinstance(cluster, Cluster)
        endpoints = snapshot.parts.get(f"endpoints/{cluster.name}")
        origination = snapshot.parts.get(f"origination/{cluster.name}")
        assert endpoints is None or isinstance(endpoints, ClusterEndpoints)
        assert origination is None or isinstance(origination, Origination)
        parts[cluster.name] = ClusterParts(
            config=cluster, endpoints=endpoints.endpoints if endpoints else (), origination=origination
        )
    for inbound in snapshot.of_kind("inbound"):
        assert isinstance(inbound, InboundListener)
        name = application_cluster(inbound)
        parts[name] = ClusterParts(
            config=Cluster(
                name=name,
                protocol=inbound.protocol,
                load_balancing=LoadBalancing(panic_percent=0.0),
                circuit_breaking=inbound.circuit_breaking,
                timeouts=inbound.timeouts,
            ),
            endpoints=(Endpoint(name="application", address=inbound.application),),
        )
    return parts


def application_cluster(inbound: InboundListener) -> str:
    """Return the name of the cluster behind an inbound: its address, since two applications may share a port number."""
    return str(inbound.application)


def listener_plans(
    snapshot: Snapshot, cluster_of: ClusterOf, own_id: str, known: Mapping[Address, Planned]
) -> dict[Address, Planned]:
    """Return the plan of each listening address, the one in `known` where nothing has changed.

    Raises: ConfigError where a listener names an absent cluster, or two listeners want one address.
    """
    plans: dict[Address, Planned] = {}
    violations = []
    for listener in (*snapshot.of_kind("inbound"), *snapshot.of_kind("outbound")):
        assert isinstance(listener, InboundListener | OutboundListener)
        problem = _problem(listener, snapshot)
        if listener.address in plans:
            problem = f"listens on {listener.address}, and so does {plans[listener.address].part.name}"
        if problem:
            violations.append(Violation(path=part_key(listener), message=problem))
            continue
        before = known.get(listener.address)
        if before is not None and (before.part, before.own_id) == (listener, own_id):
            plans[listener.address] = before
        elif isinstance(listener, InboundListener):
            plans[listener.address] = Planned(listener, own_id, _inbound_plan(listener, cluster_of, own_id))
        else:
            plans[listener.address] = Planned(listener, own_id, _outbound_plan(listener, cluster_of))
    if violations:
        raise ConfigError(violations)
    return plans


def _problem(listener: InboundListener | OutboundListener, snapshot: Snapshot) -> str:
    if isinstance(listener, InboundListener):
        return ""
    missing = [name for name in _clusters(listener) if f"cluster/{name}" not in snapshot.parts]
    if missing:
        return f"names the cluster {missing[0]!r}, which is absent"
    return "" if listener.routes else "has no route"


def _clusters(listener: OutboundListener) -> list[str]:
    """Return the clusters that a listener's routes lead to."""
    backends = [backend.cluster for route in listener.routes for backend in route.backends if backend.cluster]
    return backends + [mirror.cluster for route in listener.routes for mirror in route.mirrors]


def _inbound_plan(inbound: InboundListener, cluster_of: ClusterOf, own_id: str) -> ListenerPlan:
    cluster = cluster_of(application_cluster(inbound))
    handle: HttpPlan | TcpPlan
    if inbound.protocol is Protocol.HTTP:
        route = Route(name=inbound.name, backends=(Backend(cluster=cluster.config.name),), timeouts=inbound.timeouts)
        handle = HttpPlan(
            inbound=True,
            idle_s=inbound.timeouts.idle_s,
            headers_s=inbound.timeouts.request_headers_s,
            filters=INBOUND,
            routes=(_route_plan(route, cluster),),
        )
    else:
        handle = TcpPlan(inbound=True, idle_s=inbound.timeouts.idle_s, cluster=cluster)
    return ListenerPlan(
        name=inbound.name,
        address=inbound.address,
        handle=handle,
        tls_mode=inbound.tls_mode,
        authorizer=None if inbound.permissions is None else Authorizer(inbound.permissions),
        own_id=own_id,
    )


def _outbound_plan(outbound: OutboundListener, cluster_of: ClusterOf) -> ListenerPlan:
    first = outbound.routes[0]
    handle: HttpPlan | TcpPlan
    if outbound.protocol is Protocol.HTTP:
        handle = HttpPlan(
            inbound=False,
            idle_s=first.timeouts.idle_s,
            headers_s=first.timeouts.request_headers_s,
            filters=OUTBOUND,
            routes=tuple(_route_plan(route, cluster_of(route.backends[0].cluster)) for route in outbound.routes),
        )
    else:
        handle = TcpPlan(
            inbound=False,
            idle_s=first.timeouts.idle_s,
            cluster=cluster_of(first.backends[0].cluster),
            connects_max=outbound.retry_connects_max + 1,
        )
    return ListenerPlan(name=outbound.name, address=outbound.address, handle=handle)


def _route_plan(route: Route, cluster: ClusterState) -> RoutePlan:
    rules = RetryRules(route.retry, request_timeout_s=route.timeouts.request_s)
    expected_ms = round(route.timeouts.request_s * 1000)
    headers = b"x-envoy-expected-rq-timeout-ms: %d\r\n" % expected_ms if expected_ms else b""
    return RoutePlan(
        name=route.name,
        path_prefix=route.match.path.value.encode(),
        timeouts=route.timeouts,
        retry=rules if rules.enabled and route.retry.retries_max > 0 else None,
        per_try_s=rules.per_try_timeout_s,
        cluster=cluster,
        request_headers=headers,
    )
