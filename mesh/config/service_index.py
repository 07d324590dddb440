"""ServiceIndex: all services of one mesh, kept from one look at the mesh to the next; only what changed is made anew.

Pure but for a memory of references resolved. What a service is made of stands in `services` and `external_services`.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

from mesh.config.external_services import external_service
from mesh.config.grouping import Groups, changed_names
from mesh.config.hostnames import Conflict, Proposals, proposals_for, settle
from mesh.config.identities import Unfit
from mesh.config.selection import Carriers, Selectors
from mesh.config.services import (
    EXTERNAL,
    MESH_SERVICE,
    MULTI_ZONE,
    SERVICE_KINDS,
    Hostname,
    IdentityByName,
    Service,
    ServiceKey,
    made_service,
    multi_zone_service,
    written_service,
)
from mesh.config.view import DataplaneState, MeshView
from mesh.config.vips import assign_vips
from mesh.resources.mesh_multi_zone_service import MeshMultiZoneService
from mesh.resources.mesh_service import MeshService, ServicePort
from mesh.resources.resource import WORKLOAD, Resource

_NO_SERVICES: Mapping[str, Carriers[str]] = {kind: Carriers() for kind in SERVICE_KINDS}


class ServiceRef(Protocol):
    """A reference to a service, by name or by labels."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


@attrs.frozen(eq=False, kw_only=True)
class _Basis:
    """What services were made from."""

    groups: Groups = attrs.field(factory=Groups)
    states: Mapping[str, DataplaneState] = attrs.field(factory=dict)  # of those that can be called
    identities: IdentityByName = attrs.field(factory=dict)
    known_ports: Mapping[str, tuple[ServicePort, ...]] = attrs.field(factory=dict)
    secured: Mapping[str, None] = attrs.field(factory=dict)
    members: Carriers[str] = attrs.field(factory=Carriers)  # Dataplanes by their labels
    selecting: Selectors[str] = attrs.field(factory=Selectors)  # MeshServices by whom they select
    naming: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)  # MeshServices by the Dataplane that they name
    joining: Selectors[str] = attrs.field(factory=Selectors)  # MeshMultiZoneServices by the services that they join


@attrs.frozen(eq=False, kw_only=True)
class ServiceIndex:
    """`by_key` is sorted by kind and name; `conflicts` says which hostnames were proposed in vain."""

    by_key: Mapping[ServiceKey, Service] = attrs.field(factory=dict)
    vips: Mapping[ServiceKey, str] = attrs.field(factory=dict)  # of the past too
    conflicts: tuple[Conflict, ...] = ()
    _basis: _Basis = attrs.field(factory=_Basis)
    _plain: Mapping[ServiceKey, Service] = attrs.field(factory=dict)  # without VIP and hostnames
    _proposals: Mapping[ServiceKey, Proposals] = attrs.field(factory=dict)
    _carriers: Mapping[str, Carriers[str]] = _NO_SERVICES  # by kind
    _resolved: dict[tuple[str, tuple[tuple[str, str], ...]], Service | None] = attrs.field(factory=dict)

    def updated(
        self, view: MeshView, groups: Groups, identities: IdentityByName, changed: Iterable[str]
    ) -> tuple["ServiceIndex", dict[ServiceKey, None]]:
        """Return the services as they are now, and which of them are not as they were.

        `changed` are the proxies whose state or identity may be another one than at the last look.
        """
        basis = _look(self._basis, view, groups, identities, changed)
        plain = dict(self._plain)
        touched = _make_mesh_services(plain, self._basis, basis, changed, view.mesh)
        carriers = {**self._carriers, MESH_SERVICE: _carriers_of(self._carriers[MESH_SERVICE], plain, touched)}
        touched += _make_multi_zone_services(plain, self._plain, self._basis, basis, touched, carriers[MESH_SERVICE])
        touched += _make_external_services(plain, self._basis, basis)
        for kind in (MULTI_ZONE, EXTERNAL):
            carriers[kind] = _carriers_of(self._carriers[kind], plain, [key for key in touched if key[0] == kind])
        if any((key in plain) != (key in self._plain) for key in touched):
            plain = {key: plain[key] for key in sorted(plain)}
        if view.vips:
            vips = assign_vips(plain, {**self.vips, **view.vips}, mesh=view.mesh)
        else:
            vips = assign_vips([key for key in touched if key in plain], self.vips, mesh=view.mesh)
        proposals, given, conflicts = self._names(plain, touched, basis)
        due = {**plain, **dict.fromkeys(touched)} if given or view.vips else touched
        by_key, differing = self._dress(plain, due, given, vips)
        index = ServiceIndex(
            by_key=by_key,
            vips=vips,
            conflicts=conflicts,
            basis=basis,
            plain=plain,
            proposals=proposals,
            carriers=carriers,
        )
        return index, differing

    def resolve(self, ref: ServiceRef) -> Service | None:
        """Return the service that a reference means; of several with its labels the oldest, then the first by name."""
        if ref.name:
            return self.by_key.get((ref.kind, ref.name))
        key = (ref.kind, tuple(sorted(ref.labels.items())))
        if key not in self._resolved:
            self._resolved[key] = min(self.matching(ref.kind, ref.labels), key=_age, default=None)
        return self._resolved[key]

    def matching(self, kind: str, labels: Mapping[str, str]) -> list[Service]:
        """Return the services of a kind that carry all of `labels`, in no order."""
        carriers = self._carriers.get(kind)
        return [self.by_key[kind, name] for name in carriers.matching(labels)] if carriers else []

    def members(self, service: Service) -> dict[str, DataplaneState]:
        """Return the live Dataplanes behind a MeshService, sorted."""
        return _members(self._basis, service.name) if service.kind == MESH_SERVICE else {}

    def joined(self, service: Service) -> list[Service]:
        """Return the MeshServices that a MeshMultiZoneService joins, sorted."""
        resource = self._basis.groups.of_kind(MULTI_ZONE).get(service.name)
        if service.kind != MULTI_ZONE or resource is None:
            return []
        found = self.matching(MESH_SERVICE, resource.spec_as(MeshMultiZoneService).match_labels)
        return sorted(found, key=lambda joined: joined.name)

    def _names(
        self, plain: Mapping[ServiceKey, Service], touched: Iterable[ServiceKey], basis: _Basis
    ) -> tuple[Mapping[ServiceKey, Proposals], Mapping[ServiceKey, tuple[Hostname, ...]], tuple[Conflict, ...]]:
        """Return the names of all services, or of none where everybody keeps theirs."""
        generators = basis.groups.of_kind("HostnameGenerator")
        anew = touched if generators is self._basis.groups.of_kind("HostnameGenerator") else {**self._plain, **plain}
        made = {key: proposals_for(plain[key], generators.values()) for key in anew if key in plain}
        if all(key in plain and self._proposals.get(key) == made[key] for key in anew):
            return self._proposals, {}, self.conflicts
        proposals = {key: made.get(key) or self._proposals[key] for key in plain}
        return proposals, *settle(proposals)

    def _dress(
        self,
        plain: Mapping[ServiceKey, Service],
        due: Iterable[ServiceKey],
        given: Mapping[ServiceKey, tuple[Hostname, ...]],
        vips: Mapping[ServiceKey, str],
    ) -> tuple[Mapping[ServiceKey, Service], dict[ServiceKey, None]]:
        """Give the services that are due their VIPs and names; return all, and which are not what they were."""
        by_key = dict(self.by_key)
        differing: dict[ServiceKey, None] = {}
        for key in due:
            service = None
            if key in plain:
                service = self._dressed(plain[key], vips[key], given[key] if given else by_key[key].hostnames)
            if service is not by_key.get(key):
                differing[key] = None
                _set(by_key, key, service)
        if by_key.keys() != self.by_key.keys():
            by_key = {key: by_key[key] for key in plain}
        return by_key, differing

    def _dressed(self, plain: Service, vip: str, hostnames: tuple[Hostname, ...]) -> Service:
        """Return the service with its VIP and names: the same object as before, where nothing about it has changed."""
        before = self.by_key.get(plain.key)
        if (
            before is not None
            and self._plain[plain.key] is plain
            and (before.vip, before.hostnames) == (vip, hostnames)
        ):
            return before
        return attrs.evolve(plain, vip=vip, hostnames=hostnames)


def _age(service: Service) -> tuple[float, str]:
    return (service.created, service.name)


def _look(before: _Basis, view: MeshView, groups: Groups, identities: IdentityByName, changed: Iterable[str]) -> _Basis:
    """Take in how things stand, where only these Dataplanes have changed, come or left."""
    states, labels = dict(before.states), {}
    for name in changed:
        state = view.dataplanes.get(name)
        # A proxy that cannot hold its identity could not be called anyway, and must not lower a service to plaintext.
        if state is None or isinstance(identities[name], Unfit):
            states.pop(name, None)
        else:
            states[name] = state
        labels[name] = states[name].labels if name in states else None
    known = before.members.labels_by_name
    written, joins = groups.of_kind(MESH_SERVICE), groups.of_kind(MULTI_ZONE)
    selecting, naming, joining = before.selecting, before.naming, before.joining
    if written is not before.groups.of_kind(MESH_SERVICE):
        selecting, naming = _selectors(written)
    if joins is not before.groups.of_kind(MULTI_ZONE):
        joining = Selectors.of(
            {name: resource.spec_as(MeshMultiZoneService).match_labels for name, resource in joins.items()}
        )
    return _Basis(
        groups=groups,
        states=states,
        identities=identities,
        known_ports=view.known_ports,
        secured=view.secured,
        members=before.members.updated({name: own for name, own in labels.items() if known.get(name) != own}),
        selecting=selecting,
        naming=naming,
        joining=joining,
    )


def _selectors(written: Mapping[str, Resource]) -> tuple[Selectors[str], dict[str, tuple[str, ...]]]:
    """Return how MeshServices find their Dataplanes: by labels, or by the one name."""
    specs = {name: resource.spec_as(MeshService) for name, resource in written.items()}
    naming: dict[str, list[str]] = {}
    for name, spec in specs.items():
        naming.setdefault(spec.dataplane, []).append(name)
    by_labels = Selectors.of({name: spec.match_labels for name, spec in specs.items()})
    return by_labels, {dataplane: tuple(names) for dataplane, names in naming.items() if dataplane}


def _make_mesh_services(
    plain: dict[ServiceKey, Service], before: _Basis, basis: _Basis, changed: Iterable[str], mesh: str
) -> list[ServiceKey]:
    """Make anew the MeshServices that a change concerns, written or not; return those that are not what they were."""
    due: dict[str, None] = {}
    for name in changed:
        for members in (before.members, basis.members):
            labels = members.labels_by_name.get(name)
            if labels is not None:
                due[labels.get(WORKLOAD, "")] = None
                due |= dict.fromkeys(basis.selecting.selecting(labels))
        due |= dict.fromkeys(basis.naming.get(name, ()))
    due |= dict.fromkeys(changed_names(before.groups.of_kind(MESH_SERVICE), basis.groups.of_kind(MESH_SERVICE)))
    if before.known_ports is not basis.known_ports:
        names = [*before.known_ports, *basis.known_ports]
        due |= {name: None for name in names if before.known_ports.get(name) != basis.known_ports.get(name)}
    if before.secured is not basis.secured:
        names = [*before.secured, *basis.secured]
        due |= {name: None for name in names if (name in before.secured) != (name in basis.secured)}
    made = {(MESH_SERVICE, name): _mesh_service(basis, name, mesh) if name else None for name in due}
    return [key for key, service in made.items() if _put(plain, key, service)]


def _mesh_service(basis: _Basis, name: str, mesh: str) -> Service | None:
    members = _members(basis, name)
    resource = basis.groups.of_kind(MESH_SERVICE).get(name)
    if resource is not None:
        return written_service(resource, members, basis.identities, was_secured=name in basis.secured)
    known = basis.known_ports.get(name, ())
    return made_service(name, members, known, basis.identities, mesh, was_secured=name in basis.secured)


def _members(basis: _Basis, service: str) -> dict[str, DataplaneState]:
    resource = basis.groups.of_kind(MESH_SERVICE).get(service)
    names: Iterable[str]
    if resource is None:
        names = basis.members.matching({WORKLOAD: service})
    else:
        spec = resource.spec_as(MeshService)
        names = (spec.dataplane,) if spec.match_labels is None else basis.members.matching(spec.match_labels)
    return {name: basis.states[name] for name in sorted(names) if name in basis.states}


def _make_multi_zone_services(
    plain: dict[ServiceKey, Service],
    plain_before: Mapping[ServiceKey, Service],
    before: _Basis,
    basis: _Basis,
    services_changed: Iterable[ServiceKey],
    carriers: Carriers[str],
) -> list[ServiceKey]:
    """Make anew the MeshMultiZoneServices that changed or join something that changed; return as `_make_mesh_services`."""
    written = basis.groups.of_kind(MULTI_ZONE)
    due = dict.fromkeys(changed_names(before.groups.of_kind(MULTI_ZONE), written))
    for key in services_changed:
        for services in (plain_before, plain):
            if key in services:
                due |= dict.fromkeys(basis.joining.selecting(services[key].labels))
    touched = []
    for name in due:
        service = None
        if name in written:
            found = sorted(carriers.matching(written[name].spec_as(MeshMultiZoneService).match_labels))
            service = multi_zone_service(written[name], [plain[MESH_SERVICE, member] for member in found])
        if _put(plain, (MULTI_ZONE, name), service):
            touched.append((MULTI_ZONE, name))
    return touched


def _make_external_services(plain: dict[ServiceKey, Service], before: _Basis, basis: _Basis) -> list[ServiceKey]:
    """Make anew the MeshExternalServices that changed; all when a Secret did, since few meshes have many."""
    old, new, secrets = before.groups.of_kind(EXTERNAL), basis.groups.of_kind(EXTERNAL), basis.groups.of_kind("Secret")
    same_secrets = secrets is before.groups.of_kind("Secret")
    due = changed_names(old, new) if same_secrets else [*dict.fromkeys([*old, *new])]
    made = {(EXTERNAL, name): external_service(new[name], secrets) if name in new else None for name in due}
    return [key for key, service in made.items() if _put(plain, key, service)]


def _put(services: dict[ServiceKey, Service], key: ServiceKey, service: Service | None) -> bool:
    """Put a service in the place of the one before, unless it is equal: then that object stays, and nothing changed."""
    present = services.get(key)
    if present == service and (present is None or service is None or present.created == service.created):
        return False
    _set(services, key, service)
    return True


def _set(services: dict[ServiceKey, Service], key: ServiceKey, service: Service | None) -> None:
    if service is None:
        services.pop(key, None)
    else:
        services[key] = service


def _carriers_of(
    carriers: Carriers[str], plain: Mapping[ServiceKey, Service], differing: Iterable[ServiceKey]
) -> Carriers[str]:
    labels = {key[1]: plain[key].labels if key in plain else None for key in differing}
    return carriers.updated({name: own for name, own in labels.items() if carriers.labels_by_name.get(name) != own})
