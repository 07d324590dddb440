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
from mesh.resources.resource import WORKLOAD

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
    states: Mapping[str, DataplaneState] = attrs.field(factory=dict)  # sorted
    identities: IdentityByName = attrs.field(factory=dict)
    known_ports: Mapping[str, tuple[ServicePort, ...]] = attrs.field(factory=dict)
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

    def updated(self, view: MeshView, groups: Groups, identities: IdentityByName) -> "ServiceIndex":
        """Return the services as they are now."""
        basis, changed = _look(self._basis, view, groups, identities)
        plain = dict(self._plain)
        _make_mesh_services(plain, self._basis, basis, changed, view.mesh)
        services_changed = _differing(self._plain, plain)
        _make_multi_zone_services(
            plain, self._plain, self._basis, basis, services_changed, self._carriers[MESH_SERVICE]
        )
        _make_external_services(plain, self._basis, basis)
        if plain.keys() != self._plain.keys():
            plain = {key: plain[key] for key in sorted(plain)}
        differing = _differing(self._plain, plain)
        proposals, given, conflicts = self._names(plain, differing, basis)
        vips = assign_vips(plain, {**self.vips, **view.vips} if view.vips else self.vips, mesh=view.mesh)
        by_key = {key: self._dressed(plain[key], vips[key], given[key]) for key in plain}
        return ServiceIndex(
            by_key=by_key,
            vips=vips,
            conflicts=conflicts,
            basis=basis,
            plain=plain,
            proposals=proposals,
            carriers=_updated_carriers(self._carriers, plain, differing),
        )

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
        self, plain: Mapping[ServiceKey, Service], differing: Iterable[ServiceKey], basis: _Basis
    ) -> tuple[Mapping[ServiceKey, Proposals], Mapping[ServiceKey, tuple[Hostname, ...]], tuple[Conflict, ...]]:
        generators = basis.groups.of_kind("HostnameGenerator")
        anew = plain if generators is not self._basis.groups.of_kind("HostnameGenerator") else differing
        made = {key: proposals_for(plain[key], generators.values()) for key in anew if key in plain}
        if plain.keys() == self._plain.keys() and all(self._proposals.get(key) == made[key] for key in made):
            return self._proposals, {key: service.hostnames for key, service in self.by_key.items()}, self.conflicts
        proposals = {key: made.get(key) or self._proposals[key] for key in plain}
        return proposals, *settle(proposals)

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


def _look(before: _Basis, view: MeshView, groups: Groups, identities: IdentityByName) -> tuple[_Basis, dict[str, None]]:
    """Take in how things stand; return that, and the Dataplanes that changed, came or left."""
    # A proxy that cannot hold its identity could not be called anyway, and must not lower a service to plaintext.
    states = {
        name: view.dataplanes[name] for name in sorted(view.dataplanes) if not isinstance(identities.get(name), Unfit)
    }
    changed = {
        name: None
        for name, state in states.items()
        if before.states.get(name) is not state or before.identities.get(name) != identities.get(name)
    }
    changed |= {name: None for name in before.states if name not in states}
    labels = {name: states[name].labels if name in states else None for name in changed}
    known = before.members.labels_by_name
    written = groups.of_kind(MESH_SERVICE)
    selecting, naming = before.selecting, before.naming
    if written is not before.groups.of_kind(MESH_SERVICE):
        specs = {name: resource.spec_as(MeshService) for name, resource in written.items()}
        selecting = Selectors.of({name: spec.match_labels for name, spec in specs.items()})
        named: dict[str, list[str]] = {}
        for name, spec in specs.items():
            named.setdefault(spec.dataplane, []).append(name)
        naming = {dataplane: tuple(names) for dataplane, names in named.items() if dataplane}
    joining, joins = before.joining, groups.of_kind(MULTI_ZONE)
    if joins is not before.groups.of_kind(MULTI_ZONE):
        joining = Selectors.of(
            {name: resource.spec_as(MeshMultiZoneService).match_labels for name, resource in joins.items()}
        )
    basis = _Basis(
        groups=groups,
        states=states,
        identities=identities,
        known_ports=view.known_ports,
        members=before.members.updated({name: own for name, own in labels.items() if known.get(name) != own}),
        selecting=selecting,
        naming=naming,
        joining=joining,
    )
    return basis, changed


def _make_mesh_services(
    plain: dict[ServiceKey, Service], before: _Basis, basis: _Basis, changed: Iterable[str], mesh: str
) -> None:
    """Make anew the MeshServices that a change concerns, written or not."""
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
    for name in due:
        _put(plain, (MESH_SERVICE, name), _mesh_service(basis, name, mesh) if name else None)


def _mesh_service(basis: _Basis, name: str, mesh: str) -> Service | None:
    members = _members(basis, name)
    resource = basis.groups.of_kind(MESH_SERVICE).get(name)
    if resource is not None:
        return written_service(resource, members, basis.identities)
    return made_service(name, members, basis.known_ports.get(name, ()), basis.identities, mesh)


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
    carriers_before: Carriers[str],
) -> None:
    """Make anew the MeshMultiZoneServices that changed or join something that changed."""
    due = dict.fromkeys(changed_names(before.groups.of_kind(MULTI_ZONE), basis.groups.of_kind(MULTI_ZONE)))
    for key in services_changed:
        for services in (plain_before, plain):
            if key[0] == MESH_SERVICE and key in services:
                due |= dict.fromkeys(basis.joining.selecting(services[key].labels))
    if not due:
        return
    carriers = _carriers_of(carriers_before, plain, services_changed)
    for name in due:
        resource = basis.groups.of_kind(MULTI_ZONE).get(name)
        if resource is None:
            _put(plain, (MULTI_ZONE, name), None)
            continue
        found = sorted(carriers.matching(resource.spec_as(MeshMultiZoneService).match_labels))
        _put(plain, (MULTI_ZONE, name), multi_zone_service(resource, [plain[MESH_SERVICE, member] for member in found]))


def _make_external_services(plain: dict[ServiceKey, Service], before: _Basis, basis: _Basis) -> None:
    """Make anew the MeshExternalServices that changed; all when a Secret did, since few meshes have many."""
    old, new, secrets = before.groups.of_kind(EXTERNAL), basis.groups.of_kind(EXTERNAL), basis.groups.of_kind("Secret")
    same_secrets = secrets is before.groups.of_kind("Secret")
    for name in changed_names(old, new) if same_secrets else dict.fromkeys([*old, *new]):
        _put(plain, (EXTERNAL, name), external_service(new[name], secrets) if name in new else None)


def _put(services: dict[ServiceKey, Service], key: ServiceKey, service: Service | None) -> None:
    """Put a service in the place of the one before, unless it is equal: then that object stays."""
    if service is None:
        services.pop(key, None)
    elif services.get(key) != service or services[key].created != service.created:
        services[key] = service


def _differing(before: Mapping[ServiceKey, Service], after: Mapping[ServiceKey, Service]) -> list[ServiceKey]:
    differing = [key for key, service in after.items() if before.get(key) is not service]
    return differing + [key for key in before if key not in after]


def _updated_carriers(
    carriers: Mapping[str, Carriers[str]], plain: Mapping[ServiceKey, Service], differing: list[ServiceKey]
) -> Mapping[str, Carriers[str]]:
    return {
        kind: _carriers_of(carriers[kind], plain, [key for key in differing if key[0] == kind])
        for kind in SERVICE_KINDS
    }


def _carriers_of(
    carriers: Carriers[str], plain: Mapping[ServiceKey, Service], differing: Iterable[ServiceKey]
) -> Carriers[str]:
    labels = {key[1]: plain[key].labels if key in plain else None for key in differing}
    return carriers.updated({name: own for name, own in labels.items() if carriers.labels_by_name.get(name) != own})
