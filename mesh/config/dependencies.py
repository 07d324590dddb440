"""Dependencies: whose configuration a change can reach, so that a change is worth what it reaches and no more. Pure.

A configuration depends on its proxy's own Dataplane and identity, on the trust while it has an identity, on the
services that it calls, and on the policies that select it: a policy about one service only where it calls that one.
"""

from collections.abc import Iterable

from mesh.config.changes import touched
from mesh.config.identities import Identity
from mesh.config.index import MeshIndex
from mesh.config.matching import ROUTE, selects
from mesh.config.services import Service
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource
from mesh.resources.target_ref import TargetRef

# Policies of other kinds do not reach any configuration yet.
ACTING_KINDS = (
    "MeshTimeout",
    "MeshRetry",
    "MeshCircuitBreaker",
    "MeshLoadBalancingStrategy",
    "MeshTLS",
    "MeshTrafficPermission",
    "MeshPassthrough",
)


def affected(before: MeshIndex, after: MeshIndex) -> tuple[str, ...]:
    """Return the proxies, sorted, whose configuration may differ between two indexes; all others keep theirs.

    New proxies are among them, those that left are not.
    """
    present = after.view.dataplanes
    if before.view.mesh != after.view.mesh:
        return tuple(sorted(present))
    found = {**_themselves(before, after), **_by_trust(before, after)}
    found |= _by_services(before, after)
    found |= _by_policies(before, after)
    return tuple(sorted(name for name in found if name in present))


def _themselves(before: MeshIndex, after: MeshIndex) -> dict[str, None]:
    """Return who has another Dataplane or identity. What became of its inbounds' health is its callers' business."""
    known = before.view.dataplanes
    return {
        name: None
        for name, state in after.view.dataplanes.items()
        if name not in known
        or known[name].resource != state.resource
        or before.identity_by_name[name] != after.identity_by_name[name]
    }


def _by_trust(before: MeshIndex, after: MeshIndex) -> dict[str, None]:
    if before.trust == after.trust:
        return {}
    return {name: None for name, identity in after.identity_by_name.items() if isinstance(identity, Identity)}


def _by_services(before: MeshIndex, after: MeshIndex) -> dict[str, None]:
    """Return who calls a service that came, went or changed, as references meant it before, or mean it now."""
    old, new = before.services, after.services
    changed = [key for key, service in new.by_key.items() if not _same(old.by_key.get(key), service)]
    changed += [key for key in old.by_key if key not in new.by_key]
    return {**after.callers.of_services(changed, old), **after.callers.of_services(changed, new)}


def _same(before: Service | None, after: Service) -> bool:
    # Its age decides which of several a reference means.
    return before is after or (before == after and before is not None and before.created == after.created)


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
    if spec.rules or spec.default or any(item.target.kind == ROUTE for item in spec.to):
        return dict.fromkeys(_selected(policy, index))
    if any(item.target.kind == "Mesh" for item in spec.to):
        return dict.fromkeys(name for name in _selected(policy, index) if index.callers.by_target.values_by_name[name])
    # Of services that went, or have lost the labels that made them meant, the callers are found as theirs.
    called = [service.key for item in spec.to for service in _services_of(item.target, index)]
    callers = index.callers.of_services(called, index.services)
    return {name: None for name in callers if _selects(policy, index, name)}


def _services_of(target: TargetRef, index: MeshIndex) -> list[Service]:
    return index.services.matching(target.kind, target.labels)


def _selected(policy: Resource, index: MeshIndex) -> Iterable[str]:
    names = index.proxies.matching(policy.spec_as(Policy).target.labels)
    return (name for name in names if _selects(policy, index, name))


def _selects(policy: Resource, index: MeshIndex, proxy: str) -> bool:
    state = index.state(proxy)
    return selects(policy, state.resource, state.dataplane.inbounds)
