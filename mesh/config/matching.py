"""Which policies apply to a proxy, and which of their items to a destination or an inbound. Pure.

Orders are ascending: what comes later wins when settings are merged. Source: Kuma `pkg/plugins/policies/core/{matchers,rules}`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from mesh.resources.dataplane import Inbound
from mesh.resources.policy import Policy, Rule, TargetRef, ToItem
from mesh.resources.resource import EFFECT, ORIGIN, POLICY_ROLE, ZONE, Resource

_TOP_KINDS = ("Mesh", "Dataplane")
_TO_KINDS = ("Mesh", "MeshService")
_ORIGINS = ("global", None, "zone")
_ROLES = ("system", "producer", "consumer", "workload-owner")

Rank = tuple[int, ...]


class Labelled(Protocol):
    """What selectors look at."""

    def matches_labels(self, labels: Mapping[str, str]) -> bool: ...


@attrs.frozen(kw_only=True)
class Destination:
    """One port of one service."""

    service: Labelled
    port: int
    port_name: str = ""


def in_order(policies: Iterable[Resource]) -> tuple[Resource, ...]:
    """Sort policies of one kind by how specific they are; shadow policies are left out.

    Mesh before Dataplane, without section before with, global before unset before zone, by role, and of equal ones
    the name that comes first in the alphabet last: `aaa` beats `zzz`. That labels were given does not count, whatever
    Kuma's documentation says: its code does not look at them.
    """
    active = [policy for policy in policies if policy.labels.get(EFFECT) != "shadow"]
    by_name = sorted(active, key=_by_name, reverse=True)
    return tuple(sorted(by_name, key=_rank))


def selects(policy: Resource, dataplane: Resource, inbounds: Sequence[Inbound]) -> bool:
    """Does the policy apply to this proxy, or to at least one of its inbounds where it names a section?"""
    if policy.labels.get(ORIGIN) == "zone" and policy.labels.get(ZONE) != dataplane.labels.get(ZONE):
        return False
    target = policy.spec_as(Policy).target
    if target.kind == "Mesh":
        return True
    if not dataplane.matches_labels(target.labels):
        return False
    return not target.section or any(_is_section(target, inbound) for inbound in inbounds)


def items_in_order(policies: Iterable[Resource]) -> tuple[ToItem, ...]:
    """Join the `to` items of the policies that apply to one proxy.

    The policy counts before the destination: an item for the whole mesh in a policy for one proxy comes after an item
    for one service in a policy for all proxies. Then Mesh before MeshService, and items for one port last.
    """
    items = [(policy, item) for policy in policies for item in policy.spec_as(Policy).to]
    by_name = sorted(items, key=lambda entry: _by_name(entry[0]), reverse=True)
    ranked = sorted(by_name, key=lambda entry: (*_rank(entry[0]), *_item_rank(entry[1].target)))
    return tuple(item for _, item in ranked)


def items_for(items: Iterable[ToItem], destination: Destination) -> tuple[ToItem, ...]:
    """Return the items that are about a destination: the mesh's, its service's and its port's own, in their order."""
    return tuple(item for item in items if _is_about(item.target, destination))


def rules_for(policies: Iterable[Resource], inbound: Inbound) -> tuple[Rule, ...]:
    """Join the rules that apply to one inbound, in the order of their policies."""
    rules: list[Rule] = []
    for policy in policies:
        spec = policy.spec_as(Policy)
        if not spec.target.section or _is_section(spec.target, inbound):
            rules += spec.rules
    return tuple(rules)


def _by_name(policy: Resource) -> tuple[str, str]:
    # Copies from several zones share their display name; then the full name decides, so that no order is left to chance.
    return (policy.display_name, policy.name)


def _rank(policy: Resource) -> Rank:
    target = policy.spec_as(Policy).target
    origin, role = policy.labels.get(ORIGIN), policy.labels.get(POLICY_ROLE, "system")
    return (
        _TOP_KINDS.index(target.kind),
        int(bool(target.section)),
        _ORIGINS.index(origin) if origin in _ORIGINS else 1,
        _ROLES.index(role) if role in _ROLES else 0,
    )


def _item_rank(target: TargetRef) -> Rank:
    return (_TO_KINDS.index(target.kind), int(bool(target.section)))


def _is_section(target: TargetRef, inbound: Inbound) -> bool:
    # An inbound without a name of its own is called by its port, see Inbound.name.
    return target.section == inbound.name


def _is_about(target: TargetRef, destination: Destination) -> bool:
    if target.kind == "Mesh":
        return True
    if not destination.service.matches_labels(target.labels):
        return False
    return not target.section or target.section in (destination.port_name, str(destination.port))
