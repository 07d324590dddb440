"""From a snapshot to plans: what each listener does, and which clusters that takes. Opens and closes nothing."""

from collections.abc import Mapping

import attrs

from mesh.config.snapshot import (
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    Origination,
    OutboundListener,
    Snapshot,
    part_key,
)
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.policy.load_balancing import LoadBalancing
from mesh.proxy.listener_planning import ClusterOf, application_cluster, inbound_plan, outbound_plan
from mesh.proxy.plan import ListenerPlan


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
            continue
        try:
            if isinstance(listener, InboundListener):
                plan = inbound_plan(listener, cluster_of, own_id, None if before is None else before.plan)
            else:
                plan = outbound_plan(listener, cluster_of)
        except (ValueError, ArithmeticError) as error:  # The latter from a rate over no time.
            violations.append(Violation(path=part_key(listener), message=str(error)))
            continue
        plans[listener.address] = Planned(listener, own_id, plan)
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
