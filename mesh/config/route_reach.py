"""Route reach: which routes lead to a service, so that whoever is routed there is found without looking at all. Pure."""

from collections.abc import Iterable, Iterator, Mapping

import attrs

from mesh.config.backends import references
from mesh.config.outbound_routes import ROUTE_KINDS
from mesh.config.policies import KindIndex, PolicyIndex
from mesh.config.reach import Target
from mesh.config.selection import Selectors
from mesh.config.service_index import ServiceIndex
from mesh.config.services import ServiceKey
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource
from mesh.resources.target_ref import TargetRef

Leading = tuple[Resource, TargetRef]  # a route, and the services towards which it leads elsewhere


@attrs.frozen(eq=False)
class RouteReach:
    """The `to` items of all routes, by what their backends and mirrors refer to."""

    _kinds: tuple[KindIndex | None, ...] = ()
    _items: Mapping[Target, tuple[Leading, ...]] = attrs.field(factory=dict)
    _by_labels: Selectors[Target] = attrs.field(factory=Selectors)

    def over(self, policies: PolicyIndex) -> "RouteReach":
        """Return it for other policies: the same object where their routes are the same."""
        kinds = tuple(policies.kinds.get(kind) for kind in ROUTE_KINDS)
        if len(kinds) == len(self._kinds) and all(new is old for new, old in zip(kinds, self._kinds, strict=True)):
            return self
        items: dict[Target, list[Leading]] = {}
        for kind in kinds:
            for policy in kind.policies if kind is not None else ():
                for target, leading in _references(policy):
                    items.setdefault(target, []).append((policy, leading))
        by_labels = Selectors.of({target: target.labels for target in items})
        return RouteReach(kinds, {target: tuple(found) for target, found in items.items()}, by_labels)

    def leading_to(self, keys: Iterable[ServiceKey], services: ServiceIndex) -> Iterator[Leading]:
        """Yield what leads to one of some services, with references resolved as in `services`."""
        for key in dict.fromkeys(keys):
            service = services.by_key.get(key)
            if service is None:
                continue
            for target in self._by_labels.selecting(service.labels):
                if target.kind == service.kind and services.resolve(target) is service:
                    yield from self._items[target]


def _references(policy: Resource) -> Iterator[tuple[Target, TargetRef]]:
    """Yield what a route refers to, once for each of its items."""
    for item in policy.spec_as(Policy).to:
        refs = (ref for rule in item.rules for ref in references(rule.default))
        targets = (Target(kind=ref["kind"], selector=tuple(sorted(ref["labels"].items()))) for ref in refs)
        for target in dict.fromkeys(targets):
            yield target, item.target
