"""Known resources: those that were written, and those that follow from what takes part: Dataplanes that joined, the
MeshServices made of workloads, and Workloads. The latter have version 0: nobody wrote them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mesh.config.services import MESH_SERVICE, Service
from mesh.control.api.ports import Plane
from mesh.control.store.values import Stored
from mesh.resources.generated import Workload
from mesh.resources.mesh_service import MeshService, ServicePort
from mesh.resources.resource import WORKLOAD, Kind, Resource


def known_resources(plane: Plane, kind: Kind, mesh: str | None) -> tuple[Stored, ...]:
    """Return the resources of a kind, of one mesh or (None) of all, sorted by mesh and name."""
    stored = plane.catalogue.list(kind.name, mesh)
    derive = _DERIVE_BY_KIND.get(kind.name)
    if derive is None:
        return stored
    by_key = {item.resource.key: item for item in stored}
    for name in plane.catalogue.meshes() if mesh is None else (mesh,):
        for resource in derive(plane, name):
            by_key.setdefault(resource.key, _unwritten(resource))
    return tuple(by_key[key] for key in sorted(by_key))


def find_known(plane: Plane, kind: Kind, mesh: str, name: str) -> Stored | None:
    """Return one of `known_resources`."""
    stored = plane.catalogue.get((kind.name, mesh, name))
    derive = _DERIVE_BY_KIND.get(kind.name)
    if stored is not None or derive is None:
        return stored
    found = (resource for resource in derive(plane, mesh) if resource.name == name)
    return next((_unwritten(resource) for resource in found), None)


def find_dataplane(plane: Plane, mesh: str, name: str) -> Resource | None:
    """Return a Dataplane that an operator wrote or a sidecar joined with."""
    stored = plane.catalogue.get(("Dataplane", mesh, name))
    if stored is not None:
        return stored.resource
    return next((joined for joined in plane.dataplanes(mesh) if joined.name == name), None)


def workloads(plane: Plane, mesh: str) -> dict[str, list[Resource]]:
    """Return the Dataplanes of each workload, sorted."""
    written = {stored.resource.name: stored.resource for stored in plane.catalogue.list("Dataplane", mesh)}
    dataplanes = {joined.name: joined for joined in plane.dataplanes(mesh)} | written
    groups: dict[str, list[Resource]] = {}
    for name in sorted(dataplanes):
        if workload := dataplanes[name].labels.get(WORKLOAD):
            groups.setdefault(workload, []).append(dataplanes[name])
    return dict(sorted(groups.items()))


def _unwritten(resource: Resource) -> Stored:
    return Stored(resource=resource, version=0, created=resource.created, modified=0.0)


def _joined(plane: Plane, mesh: str) -> Iterator[Resource]:
    yield from plane.dataplanes(mesh)


def _made_services(plane: Plane, mesh: str) -> Iterator[Resource]:
    index = plane.index_of(mesh)
    for service in index.services.by_key.values() if index is not None else ():
        if service.kind == MESH_SERVICE and plane.catalogue.get((MESH_SERVICE, mesh, service.name)) is None:
            yield _made_service(service, mesh)


def _made_service(service: Service, mesh: str) -> Resource:
    """Write the MeshService of a workload as Kuma's generator does."""
    labels = {WORKLOAD: service.name}
    ports = tuple(service.port_by_number.values())
    spec: dict[str, Any] = {
        "state": "Available" if any(service.endpoints_by_port.values()) else "Unavailable",
        "selector": {"dataplaneLabels": {"matchLabels": labels}},
        "ports": [_port(port) for port in ports],
    }
    if service.spiffe_ids:
        spec["identities"] = [{"type": "SpiffeID", "value": spiffe_id} for spiffe_id in service.spiffe_ids]
    return Resource(
        kind=MESH_SERVICE,
        mesh=mesh,
        name=service.name,
        labels=dict(service.labels),
        spec=MeshService(match_labels=labels, ports=ports, spiffe_ids=service.spiffe_ids),
        written={"spec": spec},
    )


def _port(port: ServicePort) -> dict[str, Any]:
    name = {"name": port.name} if port.name else {}
    return {"port": port.port, **name, "targetPort": port.target, "appProtocol": port.protocol.value}


def _workloads(plane: Plane, mesh: str) -> Iterator[Resource]:
    for name, members in workloads(plane, mesh).items():
        created = min(member.created for member in members)
        yield Resource(kind="Workload", mesh=mesh, name=name, spec=Workload(), written={"spec": {}}, created=created)


_DERIVE_BY_KIND: Mapping[str, Callable[[Plane, str], Iterator[Resource]]] = {
    "Dataplane": _joined,
    "MeshService": _made_services,
    "Workload": _workloads,
}
