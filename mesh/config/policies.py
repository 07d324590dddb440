"""PolicyIndex: all policies of one mesh, sorted once, so that what applies to a proxy is found without looking at all.

Remembers what it merged: proxies under the same policies share the result, and an index keeps from the one before it
whatever did not change. Otherwise pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from mesh.config.inbound_rules import CallerConf, Entry, by_caller, entries_at, for_everybody
from mesh.config.matching import (
    MESH,
    ROUTE,
    SERVICE,
    Destination,
    Item,
    Labelled,
    Section,
    in_order,
    is_about,
    items_in_order,
    rules_for,
    selects,
    selects_all,
)
from mesh.config.merging import merge
from mesh.config.routes import MergedRule, merged_rules
from mesh.resources.mesh_service import ServicePort
from mesh.resources.policy import Conf, Policy, Rule
from mesh.resources.resource import DISPLAY_NAME, Resource

# Positions, in the order of one kind's policies, of those that apply to one proxy.
Selected = tuple[int, ...]
Label = tuple[str, str]

# Merged settings that one kind remembers; then it forgets them all. Policies that stay outlive the services they name.
REMEMBERED_MAX = 100_000


@attrs.define(eq=False)
class ItemIndex:
    """The `to` items for the proxies under the same policies, in order, found by a label of what they are about."""

    items: tuple[Item, ...]
    _everywhere: list[int] = attrs.Factory(list)
    _by_label: dict[Label, list[int]] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        for position, item in enumerate(self.items):
            if item.target.kind == MESH or not item.target.labels:
                self._everywhere.append(position)
            else:
                # One label is enough to look there; `is_about` compares all of them.
                self._by_label.setdefault(min(item.target.labels.items()), []).append(position)

    def about(self, destination: Destination) -> tuple[Item, ...]:
        """Return the items that are about a destination, in order."""
        candidates = list(self._everywhere)
        for label in destination.service.labels.items():
            candidates += self._by_label.get(label, ())
        found = (self.items[position] for position in sorted(candidates))
        return tuple(item for item in found if is_about(item.target, destination))


@attrs.define(eq=False)
class KindIndex:
    """The policies of one kind in ascending order, and where to look for those that select by labels."""

    policies: tuple[Resource, ...]
    _always: Selected = attrs.field(init=False)
    _unlabelled: list[int] = attrs.Factory(list)
    _by_label: dict[Label, list[int]] = attrs.Factory(dict)
    _items: dict[Selected, ItemIndex] = attrs.Factory(dict)
    _confs: dict[tuple[Selected, str, tuple[Label, ...], int, str], Conf] = attrs.Factory(dict)
    _entries: dict[tuple[Selected, str], tuple[Entry, ...]] = attrs.Factory(dict)
    _base_confs: dict[tuple[Selected, str], Conf] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        always = []
        for position, policy in enumerate(self.policies):
            labels = policy.spec_as(Policy).target.labels
            if selects_all(policy):
                always.append(position)
            elif labels:
                self._by_label.setdefault(min(labels.items()), []).append(position)
            else:
                self._unlabelled.append(position)
        self._always = tuple(always)

    def select(self, dataplane: Resource, inbounds: Sequence[Section]) -> Selected:
        """Return the positions of the policies that apply to a proxy."""
        candidates = list(self._unlabelled)
        for label in {DISPLAY_NAME: dataplane.display_name, **dataplane.labels}.items():
            candidates += self._by_label.get(label, ())
        found = [position for position in candidates if selects(self.policies[position], dataplane, inbounds)]
        return tuple(sorted([*self._always, *found])) if found else self._always

    def chosen(self, selected: Selected) -> tuple[Resource, ...]:
        """Return the policies at these positions, in order."""
        return tuple(self.policies[position] for position in selected)

    def items(self, selected: Selected) -> ItemIndex:
        """Return the `to` items of the policies at these positions."""
        if selected not in self._items:
            self._forget_if_full()
            self._items[selected] = ItemIndex(items_in_order(self.chosen(selected)))
        return self._items[selected]

    def towards(self, selected: Selected, destination: Destination) -> Conf:
        """Return the merged settings towards a destination."""
        labels = tuple(destination.service.labels.items())
        key = (selected, destination.kind, labels, destination.port, destination.port_name)
        if key not in self._confs:
            self._forget_if_full()
            self._confs[key] = merge(item.default for item in self.items(selected).about(destination))
        return self._confs[key]

    def entries(self, selected: Selected, inbound: Section) -> tuple[Entry, ...]:
        """Return the rules at one inbound, one for each match, the most specific first."""
        key = (selected, inbound.name)
        if key not in self._entries:
            self._forget_if_full()
            self._entries[key] = entries_at(self.chosen(selected), inbound)
        return self._entries[key]

    def at(self, selected: Selected, inbound: Section) -> Conf:
        """Return the merged settings at one inbound, whoever calls."""
        key = (selected, inbound.name)
        if key not in self._base_confs:
            entries = for_everybody(self.entries(selected, inbound))
            self._base_confs[key] = merge(entry.default for entry in entries)
        return self._base_confs[key]

    def _forget_if_full(self) -> None:
        remembered: tuple[dict[Any, Any], ...] = (self._items, self._confs, self._entries, self._base_confs)
        if sum(map(len, remembered)) >= REMEMBERED_MAX:
            for memory in remembered:
                memory.clear()


@attrs.define(eq=False)
class PolicyIndex:
    """Answers which settings of a kind of policy a proxy has: towards a destination, at an inbound, or as a whole."""

    kinds: dict[str, KindIndex]

    @classmethod
    def of(
        cls,
        resources: Iterable[Resource],
        *,
        mesh: str,
        previous: "PolicyIndex | None" = None,
        shadow: bool = False,
    ) -> "PolicyIndex":
        """Index the policies of a mesh; kinds whose policies are those of `previous` are kept with all they remember.

        `shadow`: as if the shadow policies were not.
        """
        by_kind: dict[str, list[Resource]] = {}
        for resource in resources:
            if resource.mesh == mesh and isinstance(resource.spec, Policy):
                by_kind.setdefault(resource.kind, []).append(resource)
        kinds = {}
        for kind, policies in by_kind.items():
            ordered = in_order(policies, shadow=shadow)
            kept = previous.kinds.get(kind) if previous else None
            kinds[kind] = kept if kept is not None and kept.policies == ordered else KindIndex(ordered)
        return cls(kinds)

    def select(self, kind: str, dataplane: Resource, inbounds: Sequence[Section]) -> Selected:
        """Return which policies of a kind apply to a proxy."""
        index = self.kinds.get(kind)
        return index.select(dataplane, inbounds) if index else ()

    def policies(self, kind: str, selected: Selected) -> tuple[Resource, ...]:
        """Return the policies that were selected, in the order in which they are merged."""
        return self.kinds[kind].chosen(selected) if selected else ()

    def towards(
        self, kind: str, selected: Selected, service: Labelled, port: ServicePort, *, to_kind: str = SERVICE
    ) -> Conf:
        """Return the merged settings towards one port of a service; `to_kind` is the kind of service."""
        if not selected:
            return {}
        return self.kinds[kind].towards(selected, _port(service, port, to_kind))

    def towards_route(
        self,
        kind: str,
        selected: Selected,
        route: Labelled,
        service: Labelled,
        port: ServicePort,
        *,
        to_kind: str = SERVICE,
    ) -> Conf:
        """Return the settings for what goes by a MeshHTTPRoute: its own with the mesh's, or else its destination's."""
        if not selected:
            return {}
        destination = Destination(service=route, kind=ROUTE)
        about = self.kinds[kind].items(selected).about(destination)
        if any(item.target.kind == ROUTE for item in about):
            return self.kinds[kind].towards(selected, destination)
        return self.towards(kind, selected, service, port, to_kind=to_kind)

    def route_rules(
        self, kind: str, selected: Selected, service: Labelled, port: ServicePort, *, to_kind: str = SERVICE
    ) -> tuple[MergedRule, ...]:
        """Return the merged rules of MeshHTTPRoutes or MeshTCPRoutes towards one port of a service."""
        if not selected:
            return ()
        return merged_rules(self.kinds[kind].items(selected).about(_port(service, port, to_kind)))

    def rules(self, kind: str, selected: Selected, inbound: Section) -> tuple[Rule, ...]:
        """Return the rules at one inbound or listener, in the order of their policies."""
        return rules_for(self.policies(kind, selected), inbound)

    def entries(self, kind: str, selected: Selected, inbound: Section) -> tuple[Entry, ...]:
        """Return the rules at one inbound, one for each match, the most specific first: for kinds of which each acts."""
        return self.kinds[kind].entries(selected, inbound) if selected else ()

    def matched_rules(self, kind: str, selected: Selected, inbound: Section) -> tuple[CallerConf, ...]:
        """Return the merged settings at one inbound by who calls, the most specific first: the first match counts."""
        return by_caller(self.entries(kind, selected, inbound))

    def at(self, kind: str, selected: Selected, inbound: Section) -> Conf:
        """Return the merged settings at one inbound, whoever calls."""
        return self.kinds[kind].at(selected, inbound) if selected else {}

    def defaults_towards(self, kind: str, selected: Selected) -> Iterator[Conf]:
        """Yield the settings in the `to` items of the policies that were selected, unmerged."""
        for policy in self.policies(kind, selected):
            yield from (item.default for item in policy.spec_as(Policy).to)

    def mesh_wide(self, kind: str, selected: Selected) -> Conf:
        """Return the merged settings of those rules that are for the whole mesh, wherever they act (MeshTLS's versions)."""
        specs = [policy.spec_as(Policy) for policy in self.policies(kind, selected)]
        return merge(rule.default for spec in specs if spec.target.kind == MESH for rule in spec.rules)

    def proxy_wide(self, kind: str, selected: Selected) -> Conf:
        """Return the merged settings of a whole proxy (MeshTrace, MeshMetric, MeshPassthrough)."""
        return merge(policy.spec_as(Policy).default for policy in self.policies(kind, selected))


def _port(service: Labelled, port: ServicePort, to_kind: str) -> Destination:
    return Destination(service=service, kind=to_kind, port=port.port, port_name=port.name)
