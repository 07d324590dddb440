"""Which policies apply to a proxy, and which of their items to a destination or an inbound. Pure.

Orders are ascending: what comes later wins when settings are merged. Source: Kuma `pkg/plugins/policies/core/{matchers,rules}`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from mesh.resources.dataplane import Dataplane
from mesh.resources.policy import Conf, Policy, RouteRule, Rule, ToItem
from mesh.resources.resource import EFFECT, NAMESPACE, ORIGIN, POLICY_ROLE, ZONE, Resource
from mesh.resources.target_ref import TargetRef

MESH, SERVICE, ROUTE = "Mesh", "MeshService", "MeshHTTPRoute"
TO_KINDS = (MESH, SERVICE, "MeshExternalService", "MeshMultiZoneService", ROUTE)
_TOP_KINDS = (MESH, "Dataplane")
_ORIGINS = ("global", None, "zone")
_ROLES = ("system", "producer", "consumer", "workload-owner")
_SYSTEM, _PRODUCER, _CONSUMER = _ROLES[:3]
# Where Kuma's control planes live on Kubernetes: what stands there is said for the whole mesh. 2.7 marked it by a label.
_SYSTEM_NAMESPACE, _IN_SYSTEM_NAMESPACE = "kuma-system", "k8s.kuma.io/system-namespace"
# When the Gateway API's route was created that a policy is made from, as a number.
_ROUTE_CREATED = "gateways.kuma.io/gateway.networking.k8s.io-route-creation-timestamp"

Rank = tuple[int, ...]


class Labelled(Protocol):
    """What selectors look at. `labels` hold the display name."""

    @property
    def labels(self) -> Mapping[str, str]: ...
    def matches_labels(self, labels: Mapping[str, str]) -> bool: ...


class Section(Protocol):
    """One inbound or listener of a proxy, called by its name, or by its port where it has none of its own."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...


@attrs.frozen(kw_only=True)
class ListenerSection:
    """A listener of a zone's proxy, as a section."""

    name: str
    port: int


@attrs.frozen(kw_only=True)
class Destination:
    """What settings are looked up for: one port of a service, all of it (port 0), or a route."""

    service: Labelled
    kind: str = SERVICE
    port: int = 0
    port_name: str = ""


@attrs.frozen(kw_only=True, eq=False)
class Item:
    """A `to` item, and where it was written: the policy, and its place in the list."""

    policy: Resource
    index: int
    to: ToItem

    @property
    def target(self) -> TargetRef:
        return self.to.target

    @property
    def default(self) -> Conf:
        return self.to.default

    @property
    def rules(self) -> tuple[RouteRule, ...]:
        return self.to.rules


def in_order(policies: Iterable[Resource], *, shadow: bool = False) -> tuple[Resource, ...]:
    """Sort policies of one kind by how specific they are. Shadow policies are left out unless `shadow`.

    Mesh before Dataplane, without section before with, global before unset before zone, by role, and of equal ones
    the name that comes first in the alphabet last: `aaa` beats `zzz`. (Of those made from routes of the Gateway API
    the oldest is last, whatever the name, and what was written by hand beats them.) That labels were given does not
    count, whatever Kuma's documentation says: its code does not look at them.
    """
    active = [policy for policy in policies if shadow or not is_shadow(policy)]
    by_name = sorted(active, key=_by_name, reverse=True)
    return tuple(sorted(by_name, key=rank))


def is_shadow(policy: Resource) -> bool:
    """Is it only tried out: shown by inspection, never applied?"""
    return policy.labels.get(EFFECT) == "shadow"


def selects(policy: Resource, dataplane: Resource, inbounds: Sequence[Section]) -> bool:
    """Does the policy apply to this proxy, or to at least one of its sections where it names one?

    A delegated gateway has no inbounds that policies could name: it is selected as a whole, whatever the section.
    """
    if not _in_zone(policy, dataplane) or not _in_namespace(policy, dataplane):
        return False
    target = policy.spec_as(Policy).target
    if target.kind == MESH:
        return True
    if not dataplane.matches_labels(target.labels):
        return False
    if not target.section or any(is_section(target, inbound) for inbound in inbounds):
        return True
    spec = dataplane.spec_as(Dataplane)
    return spec.gateway or any(is_section(target, listener) for listener in listener_sections(spec))


def selects_all(policy: Resource) -> bool:
    """Does the policy apply to every proxy, whichever it is? Where it might not, `selects` is to be asked."""
    target = policy.spec_as(Policy).target
    held_back = _stays_in_zone(policy) or _own_namespace(policy) is not None
    return not target.labels and not target.section and not held_back


def listener_sections(spec: Dataplane) -> tuple[ListenerSection, ...]:
    """Return what policies can call the listeners of a proxy."""
    return tuple(
        ListenerSection(name=listener.name or str(listener.address.port), port=listener.address.port)
        for listener in spec.listeners
    )


def rank(policy: Resource) -> Rank:
    """Return how specific a policy is; of equal ones the name decides, see `in_order`."""
    target = policy.spec_as(Policy).target
    origin, role = policy.labels.get(ORIGIN), _role(policy)
    return (
        _TOP_KINDS.index(target.kind),
        int(bool(target.section)),
        _ORIGINS.index(origin) if origin in _ORIGINS else 1,
        _ROLES.index(role) if role in _ROLES else 0,
    )


def items_in_order(policies: Iterable[Resource]) -> tuple[Item, ...]:
    """Join the `to` items of the policies that apply to one proxy.

    The policy counts before the destination: an item for the whole mesh in a policy for one proxy comes after an item
    for one service in a policy for all proxies. Then Mesh before the kinds of services before routes, MeshServices'
    ports after MeshServices, and the policies' names last. `policies` are in order.
    """
    items = [
        Item(policy=policy, index=index, to=item)
        for policy in policies
        for index, item in enumerate(policy.spec_as(Policy).to)
    ]
    by_name = sorted(items, key=lambda item: _by_name(item.policy), reverse=True)
    return tuple(sorted(by_name, key=lambda item: (*rank(item.policy), *_item_rank(item.target))))


def items_for(items: Iterable[Item], destination: Destination) -> tuple[Item, ...]:
    """Return the items that are about a destination: the mesh's, its own and its port's own, in their order."""
    return tuple(item for item in items if is_about(item.target, destination))


def is_about(target: TargetRef, destination: Destination) -> bool:
    """Is what is said of `target` said of a destination? What is said of the mesh is said of everything in it."""
    if target.kind == MESH:
        return True
    if target.kind != destination.kind or not destination.service.matches_labels(target.labels):
        return False
    return not target.section or (
        destination.port > 0 and target.section in (destination.port_name, str(destination.port))
    )


def rules_for(policies: Iterable[Resource], inbound: Section) -> tuple[Rule, ...]:
    """Join the rules that apply to one inbound or listener, in the order of their policies."""
    rules: list[Rule] = []
    for policy in policies:
        spec = policy.spec_as(Policy)
        if is_section(spec.target, inbound):
            rules += spec.rules
    return tuple(rules)


def is_section(target: TargetRef, section: Section) -> bool:
    """Does a policy that selects the proxy mean this inbound or listener of it?"""
    return not target.section or target.section == section.name


def _role(policy: Resource) -> str:
    """Return who speaks. Where no control plane has labelled it: whoever has its namespace, and else the system."""
    labels = policy.labels
    if POLICY_ROLE in labels:
        return labels[POLICY_ROLE]
    system = labels.get(NAMESPACE, _SYSTEM_NAMESPACE) == _SYSTEM_NAMESPACE or _IN_SYSTEM_NAMESPACE in labels
    return _SYSTEM if system else _CONSUMER


def _stays_in_zone(policy: Resource) -> bool:
    return policy.labels.get(ORIGIN) == "zone" and policy.labels.get(POLICY_ROLE) != _PRODUCER


def _own_namespace(policy: Resource) -> str | None:
    """Return the namespace that a policy stays in; None for the system's and producers', which leave theirs."""
    return None if _role(policy) in (_SYSTEM, _PRODUCER) else policy.labels.get(NAMESPACE)


def _in_namespace(policy: Resource, dataplane: Resource) -> bool:
    """Is a policy of one namespace about this proxy? A proxy of which none is known, as on Universal, is not held back."""
    namespace, own_namespace = _own_namespace(policy), dataplane.labels.get(NAMESPACE)
    return namespace is None or own_namespace is None or namespace == own_namespace


def _in_zone(policy: Resource, dataplane: Resource) -> bool:
    """A zone's policy stays in its zone, but a producer's goes to wherever its service is called from.

    Where either zone is unknown, as in files that no control plane has labelled yet, nothing is held back, as in Kuma.
    """
    if not _stays_in_zone(policy):
        return True
    zone, own_zone = policy.labels.get(ZONE), dataplane.labels.get(ZONE)
    return zone is None or own_zone is None or zone == own_zone


def _by_name(policy: Resource) -> tuple[int, str, str]:
    created = policy.labels.get(_ROUTE_CREATED, "")
    age = int(created) if created.isascii() and created.isdigit() else -1
    # Copies from several zones share their display name; then the full name decides, so that no order is left to chance.
    return (age, policy.display_name, policy.name)


def _item_rank(target: TargetRef) -> Rank:
    return (TO_KINDS.index(target.kind), int(bool(target.section) and target.kind == SERVICE))
