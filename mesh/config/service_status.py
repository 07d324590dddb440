"""The status of a service as Kuma shows it: its names, its VIP, and which proxies stand behind it. Pure.

Source: Kuma MeshService, MeshExternalService and MeshMultiZoneService `status`.
"""

from typing import Any

from mesh.config.hostnames import Conflict
from mesh.config.index import MeshIndex
from mesh.config.services import EXTERNAL, MESH_SERVICE, MULTI_ZONE, Service
from mesh.resources.mesh_service import MeshService
from mesh.resources.resource import WORKLOAD, Resource


def service_status(index: MeshIndex, service: Service) -> dict[str, Any]:
    """Return the `status` of a service of any kind, as JSON, without how its proxies are: see `dataplanes_behind`."""
    status: dict[str, Any] = {
        "addresses": [
            {
                "hostname": hostname.name,
                "origin": "HostnameGenerator",
                "hostnameGeneratorRef": {"coreName": hostname.generator},
            }
            for hostname in service.hostnames
        ],
        "hostnameGenerators": _generators(index, service),
    }
    if service.kind == EXTERNAL:
        return {"vip": {"ip": service.vip}, **status}
    status["vips"] = [{"ip": service.vip}]
    if service.kind == MULTI_ZONE:
        joined = index.services.joined(service)
        return {**status, "meshServices": [{"name": one.name, "mesh": index.view.mesh} for one in joined]}
    return {**status, "tls": {"status": "Ready" if service.secured else "NotReady"}}


def dataplanes_behind(index: MeshIndex, service: Service) -> tuple[Resource, ...]:
    """Return the Dataplanes of a MeshService, live or only written, sorted by name."""
    written = {dataplane.name: dataplane for dataplane in _written_members(index, service)}
    live = {name: state.resource for name, state in index.services.members(service).items()}
    return tuple(resource for _, resource in sorted((written | live).items()))


def _generators(index: MeshIndex, service: Service) -> list[dict[str, Any]]:
    """Say of each generator that meant the service whether it got its name."""
    given = [_generated(hostname.generator) for hostname in service.hostnames]
    refused = [
        _generated(conflict.generator, conflict)
        for conflict in index.services.conflicts
        if conflict.service == service.key
    ]
    return given + refused


def _generated(generator: str, conflict: Conflict | None = None) -> dict[str, Any]:
    condition = {
        "type": "Generated",
        "status": "False" if conflict else "True",
        "reason": "Conflict" if conflict else "Generated",
        "message": f"{conflict.hostname}: {conflict.reason}" if conflict else "",
    }
    return {"hostnameGeneratorRef": {"coreName": generator}, "conditions": [condition]}


def _written_members(index: MeshIndex, service: Service) -> list[Resource]:
    """Return the Dataplanes that were written, live or not, and that the service selects."""
    written = index.groups.of_kind("Dataplane").values()
    resource = index.groups.of_kind(MESH_SERVICE).get(service.name)
    if resource is None:
        return [dataplane for dataplane in written if dataplane.labels.get(WORKLOAD) == service.name]
    return [dataplane for dataplane in written if _selects(resource.spec_as(MeshService), dataplane)]


def _selects(spec: MeshService, dataplane: Resource) -> bool:
    if spec.match_labels is None:
        return dataplane.name == spec.dataplane
    return dataplane.matches_labels(spec.match_labels)
