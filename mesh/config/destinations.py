"""Destinations: the resources of a mesh that references can mean (its services and routes), found by their labels.

A reference means everything that carries all of its labels; one that is kept to a single service (a backendRef) means
the oldest, so that another service with the same labels does not move traffic. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import attrs

from mesh.config.matching import SERVICE, TO_KINDS, Destination
from mesh.config.services import made_service, service_labels
from mesh.config.view import DataplaneState
from mesh.resources.mesh_external_service import MeshExternalService
from mesh.resources.mesh_multi_zone_service import MeshMultiZoneService
from mesh.resources.mesh_service import MeshService
from mesh.resources.resource import ZONE, Resource


@attrs.frozen(kw_only=True)
class Candidate:
    """A resource that references can mean. `created`: epoch seconds, 0 where unknown; `ports`: `{number: name}`.

    `labels` hold the display name.
    """

    kind: str = SERVICE
    name: str
    labels: Mapping[str, str]
    created: float = 0.0
    ports: Mapping[int, str] = attrs.field(factory=dict)

    @property
    def zone(self) -> str:
        return self.labels.get(ZONE, "")

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        """Does it carry all of `labels`?"""
        return all(self.labels.get(key) == value for key, value in labels.items())

    def destination(self, port: int = 0) -> Destination:
        """Return it, or one of its ports, to look up settings for."""
        return Destination(service=self, kind=self.kind, port=port, port_name=self.ports.get(port, ""))

    def port_of(self, section: str) -> int | None:
        """Return the port with this name or number."""
        found = (number for number, name in self.ports.items() if section and section in (name, str(number)))
        return next(found, None)

    def section_of(self, port: int) -> str:
        """Name a port as Kuma does: by its name, or by its number where it has none; "" for port 0, all of them."""
        return (self.ports.get(port) or str(port)) if port else ""


class Aged(Protocol):
    """What `oldest` chooses among."""

    @property
    def name(self) -> str: ...
    @property
    def created(self) -> float: ...


A = TypeVar("A", bound=Aged)


def oldest(found: Iterable[A]) -> A | None:
    """Return the one that is meant where several have the labels: the oldest, of equally old ones the first by name."""
    return min(found, key=lambda candidate: (candidate.created, candidate.name), default=None)


@attrs.define(eq=False)
class Candidates:
    """What references in a mesh can mean, sorted by kind and name, and found by labels without looking at all."""

    all: tuple[Candidate, ...]
    _by_label: dict[tuple[str, tuple[str, str]], list[Candidate]] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        for candidate in self.all:
            for label in candidate.labels.items():
                self._by_label.setdefault((candidate.kind, label), []).append(candidate)

    def meant_by(self, kind: str, labels: Mapping[str, str]) -> tuple[Candidate, ...]:
        """Return those of a kind that carry all of some labels, of which there is at least one."""
        found = min((self._by_label.get((kind, label), []) for label in labels.items()), key=len, default=[])
        return tuple(candidate for candidate in found if candidate.matches_labels(labels))


def candidates_of(resources: Iterable[Resource], *, mesh: str) -> Candidates:
    """Return what references in a mesh can mean.

    Where no MeshService is called like a workload, one is made from its Dataplanes, with the ports of their inbounds.
    """
    own = [resource for resource in resources if resource.mesh == mesh]
    written = [_candidate(resource) for resource in own if resource.kind in TO_KINDS[1:]]
    names = {candidate.name for candidate in written if candidate.kind == SERVICE}
    dataplanes = (resource for resource in own if resource.kind == "Dataplane")
    made = [candidate for candidate in _made(dataplanes, mesh) if candidate.name not in names]
    in_order = sorted([*written, *made], key=lambda candidate: (TO_KINDS.index(candidate.kind), candidate.name))
    return Candidates(tuple(in_order))


def _candidate(resource: Resource) -> Candidate:
    ports: dict[int, str] = {}
    match resource.spec:
        case MeshService() | MeshMultiZoneService() as spec:
            ports = {port.port: port.name for port in spec.ports}
        case MeshExternalService() as spec:
            ports = {spec.port: ""}
    labels = service_labels(resource)
    return Candidate(kind=resource.kind, name=resource.name, labels=labels, created=resource.created, ports=ports)


def _made(dataplanes: Iterable[Resource], mesh: str) -> Iterator[Candidate]:
    """Make the service of each workload, as the control plane does."""
    members: dict[str, dict[str, DataplaneState]] = {}
    for dataplane in sorted(dataplanes, key=lambda resource: resource.name):
        state = DataplaneState(resource=dataplane)
        if state.workload:
            members.setdefault(state.workload, {})[dataplane.name] = state
    for workload, states in members.items():
        service = made_service(workload, states, (), {}, mesh)
        if service is not None:
            ports = {number: port.name for number, port in service.port_by_number.items()}
            yield Candidate(name=workload, labels=service.labels, created=service.created, ports=ports)
