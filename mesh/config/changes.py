"""Changes of policies between two indexes, and whom they concern: so that a change is worth what it reaches. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from mesh.config.matching import ROUTE, Destination, Section
from mesh.config.policies import ItemIndex, KindIndex, PolicyIndex
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource


@attrs.define(eq=False)
class PolicyChanges:
    """The policies that came, went or changed (old and new versions), by kind; kinds without changes are left out."""

    by_kind: Mapping[str, KindIndex]

    def __bool__(self) -> bool:
        return bool(self.by_kind)

    def concerns(self, dataplane: Resource, inbounds: Sequence[Section], destinations: Iterable[Destination]) -> bool:
        """May the configuration of a proxy that has these inbounds and calls these destinations have changed?

        It answers too often yes rather than too rarely: it looks at what policies are about, not at what they say.
        """
        called = tuple(destinations)
        return any(_concerns(index, dataplane, inbounds, called) for index in self.by_kind.values())


def touched(before: PolicyIndex, after: PolicyIndex) -> PolicyChanges:
    """Return how the policies of two indexes differ."""
    by_kind = {}
    for kind in {**before.kinds, **after.kinds}:
        old, new = before.kinds.get(kind), after.kinds.get(kind)
        if old is not new:
            changed = _different(old.policies if old else (), new.policies if new else ())
            if changed:
                by_kind[kind] = KindIndex(changed)
    return PolicyChanges(by_kind)


def _different(old: Iterable[Resource], new: Iterable[Resource]) -> tuple[Resource, ...]:
    old_by_key, new_by_key = {policy.key: policy for policy in old}, {policy.key: policy for policy in new}
    went = [policy for key, policy in old_by_key.items() if new_by_key.get(key) != policy]
    came = [policy for key, policy in new_by_key.items() if old_by_key.get(key) != policy]
    return tuple(went + came)


def _concerns(
    index: KindIndex, dataplane: Resource, inbounds: Sequence[Section], destinations: Iterable[Destination]
) -> bool:
    selected = index.select(dataplane, inbounds)
    if any(_is_about_itself(policy.spec_as(Policy)) for policy in index.chosen(selected)):
        return True
    items = index.items(selected)
    return any(_is_about(items, destination) for destination in destinations)


def _is_about_itself(policy: Policy) -> bool:
    """Is it about the proxy's inbounds, or the proxy as a whole; or about a route, which may lead anywhere?"""
    return bool(policy.rules or policy.default) or any(item.target.kind == ROUTE for item in policy.to)


def _is_about(items: ItemIndex, destination: Destination) -> bool:
    return bool(items.about(destination))
