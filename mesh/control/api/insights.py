"""Insights: what is known of meshes, services and zones, counted from what there is at this moment."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from mesh.control.access import Action
from mesh.control.api.documents import DEGRADED, OFFLINE, ONLINE, Documents
from mesh.control.api.endpoint import Call, Endpoint
from mesh.control.api.known import find_known, known_resources
from mesh.control.api.paging import PAGE_PARAMETERS, list_schema, page_reply
from mesh.control.api.problems import not_found
from mesh.control.api.replies import json_reply
from mesh.control.api.resources import NOT_RETRIEVED, require_mesh
from mesh.control.store.values import Stored
from mesh.resources.dataplane import Dataplane
from mesh.resources.registry import KIND_BY_NAME, KINDS
from mesh.resources.resource import WORKLOAD, Resource
from mesh.resources.times import format_time

_DATAPLANE = KIND_BY_NAME["Dataplane"]
_KEY_BY_HEALTH = {ONLINE: "online", OFFLINE: "offline", DEGRADED: "partiallyDegraded"}


def insight_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints about meshes, services and zones as they are."""
    get: dict[str, Any] = {"method": "GET", "tag": "Insights"}
    listing: dict[str, Any] = {
        **get,
        "action": Action.READ,
        "query": PAGE_PARAMETERS,
        "reply": list_schema({"type": "object"}),
    }
    yield Endpoint(
        path="/global-insight", handle=_global, action=Action.READ_STATE, summary="Counts of everything", **get
    )
    yield Endpoint(path="/mesh-insights", handle=_meshes, kind="Mesh", summary="Counts of each mesh", **listing)
    yield Endpoint(
        path="/mesh-insights/{name}",
        handle=_mesh,
        action=Action.READ,
        kind="Mesh",
        summary="Counts of one mesh",
        **get,
    )
    for path in ("/meshes/{mesh}/service-insights", "/service-insights"):
        yield Endpoint(path=path, handle=_services, kind="MeshService", summary="Services by workload", **listing)
    yield Endpoint(
        path="/meshes/{mesh}/service-insights/{name}",
        handle=_service,
        action=Action.READ,
        kind="MeshService",
        summary="One service by its workload",
        **get,
    )
    for path, handle in (("/zones/_overview", _zones), ("/zone-insights", _zone_insights)):
        yield Endpoint(path=path, handle=handle, kind="Zone", summary="Zones with what is known of them", **listing)
    yield Endpoint(
        path="/zones/{name}/_overview",
        handle=_zone,
        action=Action.READ,
        kind="Zone",
        summary="A zone with what is known of it",
        **get,
    )


def _counts(dataplanes: Iterable[Resource], documents: Documents) -> dict[str, int]:
    """Count Dataplanes by how their proxies are."""
    counts = {"total": 0, "online": 0, "offline": 0, "partiallyDegraded": 0}
    for dataplane in dataplanes:
        counts["total"] += 1
        counts[_KEY_BY_HEALTH[documents.health_of(dataplane)]] += 1
    return counts


def _dataplanes(call: Call, mesh: str | None) -> list[Resource]:
    return [stored.resource for stored in known_resources(call.plane, _DATAPLANE, mesh)]


def _split(dataplanes: Iterable[Resource]) -> tuple[list[Resource], list[Resource]]:
    """Return those beside services, and gateways."""
    sides: tuple[list[Resource], list[Resource]] = ([], [])
    for dataplane in dataplanes:
        sides[dataplane.spec_as(Dataplane).gateway].append(dataplane)
    return sides


def _by_workload(dataplanes: Iterable[Resource]) -> dict[tuple[str, str], list[Resource]]:
    """Return Dataplanes by mesh and workload, sorted."""
    groups: dict[tuple[str, str], list[Resource]] = {}
    for dataplane in dataplanes:
        if workload := dataplane.labels.get(WORKLOAD):
            groups.setdefault((dataplane.mesh, workload), []).append(dataplane)
    return dict(sorted(groups.items()))


def _service_health(counts: dict[str, int]) -> str:
    if not counts["online"] and not counts["partiallyDegraded"]:
        return "offline"
    return "online" if counts["online"] == counts["total"] else "partially_degraded"


def _resource_counts(call: Call, mesh: str, *, policies: bool = False) -> dict[str, dict[str, int]]:
    kinds = [kind for kind in KINDS if kind.mesh_scoped and (kind.policy or not policies)]
    totals = {kind.name: len(call.plane.catalogue.list(kind.name, mesh)) for kind in kinds}
    return {name: {"total": total} for name, total in sorted(totals.items()) if total}


async def _global(call: Call) -> Response:
    documents = Documents(call)
    standard, gateways = _split(_dataplanes(call, None))
    services = [_counts(members, documents) for members in _by_workload(standard).values()]
    health = [_service_health(counts) for counts in services]
    none = {"total": 0, "online": 0, "offline": 0, "partiallyDegraded": 0}
    catalogue = call.plane.catalogue
    external = len(catalogue.list("MeshExternalService"))
    internal = {
        "total": len(health),
        "online": health.count("online"),
        "offline": health.count("offline"),
        "partiallyDegraded": health.count("partially_degraded"),
    }
    kinds = {kind.name: {"total": len(known_resources(call.plane, kind, None))} for kind in KINDS if not kind.generated}
    return json_reply(
        {
            "createdAt": format_time(call.now()),
            "services": {
                "total": len(health) + external,
                "internal": internal,
                "external": {"total": external},
                "gatewayBuiltin": none,
                "gatewayDelegated": none,
            },
            "zones": {
                "controlPlanes": {"online": 1, "total": 1},
                "zoneEgresses": {"online": 0, "total": 0},
                "zoneIngresses": {"online": 0, "total": 0},
            },
            "dataplanes": {
                "standard": _counts(standard, documents),
                "gatewayBuiltin": none,
                "gatewayDelegated": _counts(gateways, documents),
            },
            "policies": {"total": sum(len(catalogue.list(kind.name)) for kind in KINDS if kind.policy)},
            "meshes": {"total": len(catalogue.meshes())},
            "resources": kinds,
        }
    )


async def _meshes(call: Call) -> Response:
    documents = Documents(call)
    return page_reply(call, call.plane.catalogue.list("Mesh"), lambda mesh: _mesh_insight(call, mesh, documents))


async def _mesh(call: Call) -> Response:
    stored = call.plane.catalogue.get(("Mesh", "", call.path("name")))
    if stored is None:
        raise not_found(NOT_RETRIEVED, f"there is no mesh {call.path('name')!r}")
    return json_reply(_mesh_insight(call, stored, Documents(call)))


def _mesh_insight(call: Call, stored: Stored, documents: Documents) -> dict[str, Any]:
    name = stored.resource.name
    dataplanes = _dataplanes(call, name)
    standard, gateways = _split(dataplanes)
    services = _by_workload(standard)
    external = len(call.plane.catalogue.list("MeshExternalService", name))
    total = _counts(dataplanes, documents)
    return {
        "type": "MeshInsight",
        "name": name,
        "creationTime": format_time(stored.created),
        "modificationTime": format_time(stored.modified or stored.created),
        "lastSync": format_time(call.now()),
        "dataplanes": total,
        "dataplanesByType": {
            "standard": _counts(standard, documents),
            "gateway": _counts(gateways, documents),
            "gatewayBuiltin": {},
            "gatewayDelegated": _counts(gateways, documents),
        },
        "policies": _resource_counts(call, name, policies=True),
        "resources": _resource_counts(call, name),
        "dpVersions": {"kumaDp": {}, "envoy": {}},
        "mTLS": {"issuedBackends": {}, "supportedBackends": {}},
        "services": {"total": len(services) + external, "internal": len(services), "external": external},
    }


async def _services(call: Call) -> Response:
    mesh = require_mesh(call) if "mesh" in call.request.path_params else None
    documents = Documents(call)
    groups = _by_workload(_dataplanes(call, mesh))
    return page_reply(call, list(groups), lambda key: _service_insight(key, groups[key], documents))


async def _service(call: Call) -> Response:
    mesh, name = require_mesh(call), call.path("name")
    members = _by_workload(_dataplanes(call, mesh)).get((mesh, name))
    if members is None:
        raise not_found(NOT_RETRIEVED, f"no Dataplane has the workload {name!r}")
    return json_reply(_service_insight((mesh, name), members, Documents(call)))


def _service_insight(key: tuple[str, str], members: list[Resource], documents: Documents) -> dict[str, Any]:
    mesh, name = key
    counts = _counts(members, documents)
    created = min(member.created for member in members)
    return {
        "type": "ServiceInsight",
        "mesh": mesh,
        "name": name,
        "creationTime": format_time(created),
        "modificationTime": format_time(created),
        "serviceType": "internal",
        "status": _service_health(counts),
        "dataplanes": {"total": counts["total"], "online": counts["online"], "offline": counts["offline"]},
        "issuedBackends": {},
    }


async def _zones(call: Call) -> Response:
    documents = Documents(call)
    return page_reply(call, call.plane.catalogue.list("Zone"), lambda stored: _zone_overview(documents, stored))


async def _zone(call: Call) -> Response:
    stored = find_known(call.plane, KIND_BY_NAME["Zone"], "", call.path("name"))
    if stored is None:
        raise not_found(NOT_RETRIEVED, f"there is no Zone {call.path('name')!r}")
    return json_reply(_zone_overview(Documents(call), stored))


async def _zone_insights(call: Call) -> Response:
    return page_reply(
        call,
        call.plane.catalogue.list("Zone"),
        lambda stored: {"type": "ZoneInsight", "name": stored.resource.name, "subscriptions": []},
    )


def _zone_overview(documents: Documents, stored: Stored) -> dict[str, Any]:
    document = documents.of(stored)
    envelope = ("name", "labels", "creationTime", "modificationTime", "kri")
    return {
        "type": "ZoneOverview",
        **{key: document[key] for key in envelope if key in document},
        "zone": {"enabled": document.get("enabled", True)},
        "zoneInsight": {"subscriptions": []},
    }
