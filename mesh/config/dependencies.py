"""Dependencies: whose configuration a change can reach, so that a change is worth what it reaches and no more. Pure.

A configuration depends on its proxy's own Dataplane and identity, on the trust while it has an identity, on the
services that it calls, and on the policies that select it: a policy about one service only where it calls that one.
It calls what its Dataplane names, and what routes towards that lead to.
"""

from collections.abc import Iterable

from mesh.config.changes import touched
from mesh.config.identities import Identity
from mesh.config.index import Delta, MeshIndex
from mesh.config.matching import MESH, ROUTE, selects
from mesh.config.outbound_routes import ROUTE_KINDS
from mesh.config.service_index import ServiceIndex
from mesh.config.services import Service, ServiceKey, service_labels
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource
from mesh.resources.target_ref import TargetRef

# Policies of other kinds do not reach any configuration yet.
ACTING_KINDS = (
    "MeshTimeout",
    "MeshRetry",
    "MeshCircuitBreaker",
    "MeshLoadBalancingStrategy",
    "MeshHealthCheck",
    "MeshTLS",
    "MeshTrafficPermission",
    "MeshRateLimit",
    "MeshFaultInjection",
    "MeshPassthrough",
    *ROUTE_KINDS,
)


def affected(before: MeshIndex, after: MeshIndex) -> tuple[str, ...]:
    """Return the proxies, sorted, whose configuration may differ between two indexes; all others keep theirs.

    New proxies are among them, those that left are not.
    """
    present = after.view.dataplanes
    if before.view.mesh != after.view.mesh:
        return tuple(sorted(present))
    delta = after.since(before)
    found = {**_themselves(before, after, delta), **_by_trust(before, after)}
    found |= _by_services(before, after, delta)
    found |= _by_policies(before, after)
    return tuple(sorted(name for name in found if name in present))


def _themselves(before: MeshIndex, after: MeshIndex, delta: Delta) -> dict[str, None]:
    """Return who has another Dataplane or identity. What became of its inbounds' health is its callers' business."""
    known, present = before.view.dataplanes, after.view.dataplanes
    return {
        name: None
        for name in delta.proxies
        if name in present
        and (
            name not in known
            or known[name].resource != present[name].resource
            or before.identity_by_name[name] != after.identity_by_name[name]
        )
    }


def _by_trust(before: MeshIndex, after: MeshIndex) -> dict[str, None]:
    if before.trust == after.trust:
        return {}
    return {name: None for name, identity in after.identity_by_name.items() if isinstance(identity, Identity)}


def _by_services(before: MeshIndex, after: MeshIndex, delta: Delta) -> dict[str, None]:
    """Return who calls a service that came, went or changed, as references meant it before, or mean it now."""
    old, new = before.services, after.services
    changed = [key for key in delta.services if not _same(old.by_key.get(key), new.by_key.get(key))]
    return {**_callers(changed, after, old), **_callers(changed, after, new)}


def _same(before: Service | None, after: Service | None) -> bool:
    if before is None or after is None:
        return before is after
    # Its age decides which of several a reference means.
    return before is after or (before == after and before.created == after.created)


def _by_policies(before: MeshIndex, after: MeshIndex) -> dict[str, None]:
    found: dict[str, None] = {}
    for kind, changed in touched(before.policies, after.policies).by_kind.items():
        if kind in ACTING_KINDS:
            for policy in changed.policies:
                found |= _concerned(policy, after)
    return found


def _concerned(policy: Resource, index: MeshIndex) -> dict[str, None]:
    """Return the proxies that a policy selects and that have what it is about."""
    spec = policy.spec_as(Policy)
    if spec.rules or spec.default:
        return dict.fromkeys(_selected(policy, index))
    if any(item.target.kind == MESH for item in spec.to):
        return dict.fromkeys(name for name in _selected(policy, index) if index.callers.by_target.values_by_name[name])
    # Of services that went, or have lost the labels that made them meant, the callers are found as theirs.
    called = _services_of((item.target for item in spec.to), index.services)
    if policy.kind in ROUTE_KINDS:
        callers = index.callers.of_services(called, index.services)
    else:
        callers = _callers(called, index, index.services)
    for item in spec.to:
        if item.target.kind == ROUTE:
            callers |= _routed(item.target, index)
    return {name: None for name in callers if _selects(policy, index, name)}


def _callers(called: Iterable[ServiceKey], index: MeshIndex, services: ServiceIndex) -> dict[str, None]:
    """Return who calls one of some services, or is led there by a route, with references resolved as in `services`."""
    keys = tuple(called)
    found = index.callers.of_services(keys, services)
    for route, target in index.route_reach.leading_to(keys, services):
        names = index.callers.of_services(_services_of((target,), services), services)
        found |= {name: None for name in names if _selects(route, index, name)}
    return found


def _routed(target: TargetRef, index: MeshIndex) -> dict[str, None]:
    """Return the proxies that have one of the routes that are meant. Of routes that changed, they are found as theirs."""
    found: dict[str, None] = {}
    routes = index.policies.kinds.get(ROUTE)
    for route in routes.policies if routes is not None else ():
        labels = service_labels(route)
        if all(labels.get(key) == value for key, value in target.labels.items()):
            found |= _concerned(route, index)
    return found


def _services_of(targets: Iterable[TargetRef], services: ServiceIndex) -> list[ServiceKey]:
    return [service.key for target in targets for service in services.matching(target.kind, target.labels)]


def _selected(policy: Resource, index: MeshIndex) -> Iterable[str]:
    names = index.proxies.matching(policy.spec_as(Policy).target.labels)
    return (name for name in names if _selects(policy, index, name))


def _selects(policy: Resource, index: MeshIndex, proxy: str) -> bool:
    state = index.state(proxy)
    return selects(policy, state.resource, state.dataplane.inbounds)
