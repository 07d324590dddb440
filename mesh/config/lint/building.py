"""Building a scene: the links and receptions of one mesh, by the matching and merging that the control plane uses. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from mesh.config.inbound_rules import EACH_ACTS, Entry, by_caller, for_everybody
from mesh.config.index import MeshIndex
from mesh.config.lint.callers import Callee, callees, every_callee, reaches_everything
from mesh.config.lint.effective import Contribution, Effective
from mesh.config.lint.finding import Place
from mesh.config.lint.scene import Link, Reception, Scene, Usage, Wide
from mesh.config.lint.supposed import supposed_callee, supposed_dataplane, supposed_inbound
from mesh.config.lint.topology import Call, Node, Topology
from mesh.config.matching import SERVICE, TO_KINDS, Destination, Item, is_shadow, rank
from mesh.config.policies import Selected
from mesh.config.view import DataplaneState
from mesh.resources.dataplane import Dataplane, Inbound, InboundState
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource

Group = tuple[Selected, ...]  # the policies of each kind for proxies that are alike in this


def build_scene(index: MeshIndex, resources: tuple[Resource, ...], topology: Topology | None) -> Scene:
    """Look at all proxies of a mesh. Without a topology the call graph is made from their outbounds."""
    building = _Building(index)
    for state in index.view.dataplanes.values():
        building.add(state)
    building.suppose(resources)
    calls = tuple(building.calls)
    return Scene(
        mesh=index.view.mesh,
        index=index,
        resources=resources,
        topology=topology or Topology(calls=calls),
        detailed=topology is not None,
        links=tuple(building.links.values()),
        receptions=tuple(building.receptions.values()),
        wide=tuple(building.wide.values()),
        usages=tuple(building.usages.values()),
    )


@attrs.define(eq=False)
class _Building:
    """What has been found so far."""

    index: MeshIndex
    kinds: tuple[str, ...] = attrs.field(init=False)
    links: dict[tuple[Group, str, str, int], Link] = attrs.Factory(dict)
    receptions: dict[tuple[Group, str, int, str, str], Reception] = attrs.Factory(dict)
    wide: dict[Group, Wide] = attrs.Factory(dict)
    calls: dict[Call, None] = attrs.Factory(dict)
    usages: dict[tuple[int, str, int], Usage] = attrs.Factory(dict)  # by id of the policy; ids are only looked up
    _open: set[Group] = attrs.Factory(set)  # groups whose links to everything are there
    # Merged once for all destinations about which the same is said: by the items' policies (ids) and numbers.
    _merged: dict[tuple[tuple[int, int], ...], Effective] = attrs.Factory(dict)
    _used: set[tuple[int, bool]] = attrs.Factory(set)  # ids of merged settings that were used, really or supposedly

    def __attrs_post_init__(self) -> None:
        self.kinds = tuple(sorted(self.index.policies.kinds))

    def add(self, state: DataplaneState) -> None:
        """Add one proxy: what it sends, what it receives, and what it is as a whole."""
        group = self._group(state.resource, state.dataplane)
        caller = state.workload or state.resource.name
        for callee in callees(self.index, state):
            self._link(group, callee).callers[caller] = None
            self.calls[Call(caller=Node(caller), callee=Node(callee.name), port=callee.destination.port)] = None
        if reaches_everything(state.dataplane) and group not in self._open:
            self._open.add(group)
            for callee in every_callee(self.index):
                self._link(group, callee).any_caller = True
        for inbound in state.dataplane.inbounds:
            if inbound.state is not InboundState.IGNORED:
                self._reception(group, state.workload, inbound).proxies[state.resource.name] = None
        if group not in self.wide:
            self.wide[group] = Wide(effective=self._whole(group))
        self.wide[group].proxies[state.resource.name] = None

    def suppose(self, resources: Iterable[Resource]) -> None:
        """Suppose a proxy, a callee and an inbound for each item and rule, and see whether it would count there."""
        for policy in resources:
            if not isinstance(policy.spec, Policy) or is_shadow(policy) or policy.kind not in self.kinds:
                continue
            for number, item in enumerate(policy.spec.to):
                usage = self.usages.get((id(policy), "to", number))
                if usage is None or not usage.survives:
                    self._suppose_link(policy, supposed_callee(item.target), known=usage)
            for number in range(len(policy.spec.rules)):
                usage = self.usages.get((id(policy), "rules", number))
                if usage is None or not usage.survives:
                    self._suppose_reception(policy, known=usage)
            if policy.spec.default and (id(policy), "", 0) not in self.usages:
                dataplane = supposed_dataplane(policy)
                group = self._group(dataplane, dataplane.spec_as(Dataplane))
                self.wide.setdefault(group, Wide(effective=self._whole(group), supposed=True))

    def _group(self, resource: Resource, dataplane: Dataplane) -> Group:
        return tuple(self.index.policies.select(kind, resource, dataplane.inbounds) for kind in self.kinds)

    def _link(self, group: Group, callee: Callee) -> Link:
        key = (group, callee.destination.kind, callee.name, callee.destination.port)
        if key not in self.links:
            self.links[key] = self._made_link(group, callee, supposed=False)
        return self.links[key]

    def _made_link(self, group: Group, callee: Callee, *, supposed: bool) -> Link:
        effective = {
            kind: effective
            for kind, selected in zip(self.kinds, group, strict=True)
            if selected and (effective := self._towards(kind, selected, callee.destination)).contributions
        }
        for settings in effective.values():
            if (id(settings), supposed) not in self._used:
                self._used.add((id(settings), supposed))
                self._use("to", settings, supposed=supposed)
        return Link(
            name=callee.name,
            destination=callee.destination,
            protocol=callee.protocol,
            hosts=callee.hosts,
            effective=effective,
            supposed=supposed,
        )

    def _towards(self, kind: str, selected: Selected, destination: Destination) -> Effective:
        items = self.index.policies.kinds[kind].items(selected).about(destination)
        key = tuple((id(item.policy), item.index) for item in items)
        if key not in self._merged:
            self._merged[key] = Effective(tuple(_of_item(item) for item in items))
        return self._merged[key]

    def _reception(self, group: Group, workload: str, inbound: Inbound) -> Reception:
        key = (group, workload, inbound.port, inbound.name, inbound.protocol.value)
        if key not in self.receptions:
            self.receptions[key] = self._made_reception(group, workload, inbound, supposed=False)
        return self.receptions[key]

    def _made_reception(self, group: Group, workload: str, inbound: Inbound, *, supposed: bool) -> Reception:
        policies, effective, entries_by_kind = self.index.policies, {}, {}
        for kind, selected in zip(self.kinds, group, strict=True):
            entries = policies.entries(kind, selected, inbound) if selected else ()
            if entries:
                entries_by_kind[kind] = entries
                effective[kind] = Effective(tuple(_of_entry(entry) for entry in for_everybody(entries)))
                for settings in _separately(kind, entries):
                    self._use("rules", settings, supposed=supposed)
        return Reception(
            name=workload, inbound=inbound, effective=effective, entries=entries_by_kind, supposed=supposed
        )

    def _whole(self, group: Group) -> Mapping[str, Effective]:
        found = {}
        for kind, selected in zip(self.kinds, group, strict=True):
            policies = [policy for policy in self.index.policies.policies(kind, selected) if policy.spec.default]
            if policies:
                found[kind] = Effective(
                    tuple(
                        Contribution(Place(policy, ("spec",)), policy.spec_as(Policy).default, rank(policy))
                        for policy in policies
                    )
                )
                self._use("", found[kind], supposed=False)
        return found

    def _use(self, section: str, settings: Effective, *, supposed: bool) -> None:
        """Note which of the items, rules or defaults count somewhere."""
        for contribution, surviving in settings.surviving():
            number = contribution.place.path[-1] if section else 0
            assert isinstance(number, int)
            key = (id(contribution.place.resource), section, number)
            usage = self.usages.get(key)
            if usage is None:
                usage = self.usages[key] = Usage(contribution=contribution, settings=settings)
            if supposed:
                usage.could_survive = usage.could_survive or bool(surviving)
            else:
                usage.is_used = True
                usage.survives = usage.survives or bool(surviving)

    def _suppose_link(self, policy: Resource, callee: Callee, *, known: Usage | None) -> None:
        dataplane = supposed_dataplane(policy)
        group = self._group(dataplane, dataplane.spec_as(Dataplane))
        key = (group, callee.destination.kind, callee.name, callee.destination.port)
        link = self._made_link(group, callee, supposed=True)
        if known is None:
            self.links.setdefault(key, link)

    def _suppose_reception(self, policy: Resource, *, known: Usage | None) -> None:
        inbound = supposed_inbound(policy.spec_as(Policy).target)
        dataplane = supposed_dataplane(policy, inbound)
        group = self._group(dataplane, dataplane.spec_as(Dataplane))
        reception = self._made_reception(group, "", inbound, supposed=True)
        if known is None:
            self.receptions.setdefault((group, "", inbound.port, inbound.name, inbound.protocol.value), reception)


def _of_item(item: Item) -> Contribution:
    place = Place(item.policy, ("spec", "to", item.index))
    by_port = int(bool(item.target.section) and item.target.kind == SERVICE)
    # Rules of routes are merged by equal matches: each set of matches is a setting of its own.
    routes = {str(rule.matches): {"default": rule.default} for rule in item.rules}
    conf = routes if item.rules else item.default
    return Contribution(place, conf, (*rank(item.policy), TO_KINDS.index(item.target.kind), by_port))


def _of_entry(entry: Entry) -> Contribution:
    return Contribution(Place(entry.policy, ("spec", "rules", entry.index)), entry.default, rank(entry.policy))


def _separately(kind: str, entries: Sequence[Entry]) -> Iterator[Effective]:
    """Yield what is merged together: for each caller's match, or each rule alone where each acts by itself."""
    if kind in EACH_ACTS:
        for entry in entries:
            yield Effective((_of_entry(entry),))
        return
    for merged in by_caller(entries):
        yield Effective(tuple(_of_entry(entry) for entry in merged.entries))
