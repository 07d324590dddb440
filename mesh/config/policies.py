"""PolicyIndex: all policies of one mesh, sorted once, so that what applies to a proxy is found without looking at all.

Remembers what it merged: proxies under the same policies share the result. Otherwise pure.
"""

from collections.abc import Iterable

import attrs

from mesh.config.matching import Destination, in_order, items_for, items_in_order, rules_for, selects
from mesh.config.merging import merge
from mesh.config.services import Service
from mesh.resources.dataplane import Inbound
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf, Policy, Rule, ToItem
from mesh.resources.resource import DISPLAY_NAME, Resource

# Positions, in the order of one kind's policies, of those that apply to one proxy.
Selected = tuple[int, ...]
Label = tuple[str, str]


@attrs.define(eq=False)
class _KindIndex:
    """The policies of one kind in ascending order, and where to look for those that select by labels."""

    policies: tuple[Resource, ...]
    unlabelled: list[int] = attrs.Factory(list)
    by_label: dict[Label, list[int]] = attrs.Factory(dict)
    items: dict[Selected, tuple[ToItem, ...]] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        for position, policy in enumerate(self.policies):
            labels = policy.spec_as(Policy).target.labels
            if labels:
                # One label is enough to look there; `selects` compares all of them.
                self.by_label.setdefault(min(labels.items()), []).append(position)
            else:
                self.unlabelled.append(position)

    def select(self, dataplane: Resource, inbounds: tuple[Inbound, ...]) -> Selected:
        candidates = list(self.unlabelled)
        for label in {DISPLAY_NAME: dataplane.display_name, **dataplane.labels}.items():
            candidates += self.by_label.get(label, ())
        return tuple(
            position for position in sorted(candidates) if selects(self.policies[position], dataplane, inbounds)
        )

    def chosen(self, selected: Selected) -> Iterable[Resource]:
        return (self.policies[position] for position in selected)

    def items_of(self, selected: Selected) -> tuple[ToItem, ...]:
        if selected not in self.items:
            self.items[selected] = items_in_order(self.chosen(selected))
        return self.items[selected]


@attrs.define(eq=False)
class PolicyIndex:
    """Answers which settings of a kind of policy a proxy has towards a destination, or at an inbound."""

    _index_by_kind: dict[str, _KindIndex]
    _confs: dict[tuple[str, Selected, tuple[Label, ...], int, str], Conf] = attrs.Factory(dict)

    @classmethod
    def of(cls, resources: Iterable[Resource], *, mesh: str) -> "PolicyIndex":
        by_kind: dict[str, list[Resource]] = {}
        for resource in resources:
            if resource.mesh == mesh and isinstance(resource.spec, Policy):
                by_kind.setdefault(resource.kind, []).append(resource)
        return cls({kind: _KindIndex(in_order(policies)) for kind, policies in by_kind.items()})

    def select(self, kind: str, dataplane: Resource, inbounds: tuple[Inbound, ...]) -> Selected:
        """Return which policies of a kind apply to a proxy."""
        index = self._index_by_kind.get(kind)
        return index.select(dataplane, inbounds) if index else ()

    def towards(self, kind: str, selected: Selected, service: Service, port: ServicePort) -> Conf:
        """Return the merged settings towards one port of a service."""
        if not selected:
            return {}
        key = (kind, selected, tuple(service.labels.items()), port.port, port.name)
        if key not in self._confs:
            destination = Destination(service=service, port=port.port, port_name=port.name)
            items = items_for(self._index_by_kind[kind].items_of(selected), destination)
            self._confs[key] = merge(item.default for item in items)
        return self._confs[key]

    def rules(self, kind: str, selected: Selected, inbound: Inbound) -> tuple[Rule, ...]:
        """Return the rules at one inbound, in their order."""
        return rules_for(self._index_by_kind[kind].chosen(selected), inbound) if selected else ()

    def at(self, kind: str, selected: Selected, inbound: Inbound) -> Conf:
        """Return the merged settings at one inbound."""
        return merge(rule.default for rule in self.rules(kind, selected, inbound))
