"""Services and policies the other way round: which Dataplanes are behind a service or under a policy, and what it is called."""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.responses import Response

from mesh.config.policies import PolicyIndex
from mesh.config.services import SERVICE_KINDS
from mesh.control.access import Action
from mesh.control.api.documents import meta_of
from mesh.control.api.endpoint import Call, Endpoint, Parameter
from mesh.control.api.known import find_known, known_resources
from mesh.control.api.paging import PAGE_PARAMETERS, list_schema, page_reply
from mesh.control.api.problems import not_found
from mesh.control.api.replies import json_reply
from mesh.control.api.resources import NOT_RETRIEVED, require_mesh
from mesh.resources.dataplane import Dataplane
from mesh.resources.mesh_service import MeshService
from mesh.resources.registry import KIND_BY_NAME, KINDS
from mesh.resources.resource import ZONE, Kind, Resource

Selects = Callable[[Resource], bool]

_MESH_SERVICE = KIND_BY_NAME["MeshService"]
# `-resources` is what Kuma's command line asks for by mistake.
_ALIASES = ("_resources/dataplanes", "-resources/dataplanes")


def service_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints that lead from services and policies to Dataplanes and names."""
    common: dict[str, Any] = {"method": "GET", "action": Action.READ, "tag": "Inspect"}
    for kind in KINDS:
        if kind.policy:
            yield from _matching(kind, _ALIASES, _under_policy, "Dataplanes that the policy applies to")
    yield from _matching(_MESH_SERVICE, ("_dataplanes", *_ALIASES), _behind_service, "Dataplanes behind the service")
    for name in SERVICE_KINDS:
        kind = KIND_BY_NAME[name]
        yield Endpoint(
            path=f"/meshes/{{mesh}}/{kind.path}/{{name}}/_hostnames",
            handle=_hostnames_of(kind),
            summary="Names by which the service can be called",
            kind=kind.name,
            **common,
        )


def _matching(
    kind: Kind, ends: Iterable[str], selecting: Callable[[Resource], Selects], summary: str
) -> Iterable[Endpoint]:
    for end in ends:
        yield Endpoint(
            method="GET",
            path=f"/meshes/{{mesh}}/{kind.path}/{{name}}/{end}",
            handle=_dataplanes_of(kind, selecting),
            action=Action.READ,
            summary=summary,
            tag="Inspect",
            kind=kind.name,
            query=(*PAGE_PARAMETERS, Parameter(name="name", description="Only those with this in their name")),
            reply=list_schema({"type": "object"}),
        )


def _dataplanes_of(kind: Kind, selecting: Callable[[Resource], Selects]) -> Any:
    async def list_dataplanes(call: Call) -> Response:
        resource, wanted = _find(call, kind), call.query("name")
        selects = selecting(resource)
        dataplanes = (
            stored.resource for stored in known_resources(call.plane, KIND_BY_NAME["Dataplane"], resource.mesh)
        )
        found = [dataplane for dataplane in dataplanes if wanted in dataplane.name and selects(dataplane)]
        return page_reply(call, found, meta_of)

    return list_dataplanes


def _find(call: Call, kind: Kind) -> Resource:
    mesh, name = require_mesh(call), call.path("name")
    stored = find_known(call.plane, kind, mesh, name)
    if stored is None:
        raise not_found(NOT_RETRIEVED, f"there is no {kind.name} {name!r} in mesh {mesh!r}")
    return stored.resource


def _under_policy(policy: Resource) -> Selects:
    """A shadow policy shows to whom it would apply."""
    index = PolicyIndex.of((policy,), mesh=policy.mesh, shadow=True)
    return lambda dataplane: bool(index.select(policy.kind, dataplane, dataplane.spec_as(Dataplane).inbounds))


def _behind_service(service: Resource) -> Selects:
    spec = service.spec_as(MeshService)
    if spec.match_labels is not None:
        labels = spec.match_labels
        return lambda dataplane: dataplane.matches_labels(labels)
    return lambda dataplane: bool(spec.dataplane) and spec.dataplane == dataplane.name


def _hostnames_of(kind: Kind) -> Any:
    async def list_hostnames(call: Call) -> Response:
        resource = _find(call, kind)
        index = call.plane.index_of(resource.mesh)
        service = index.services.by_key.get((kind.name, resource.name)) if index is not None else None
        zone = resource.labels.get(ZONE) or call.settings.zone
        hostnames = service.hostnames if service is not None else ()
        items = [{"hostname": hostname.name, "zones": [{"name": zone}]} for hostname in hostnames]
        return json_reply({"total": len(items), "items": items})

    return list_hostnames
