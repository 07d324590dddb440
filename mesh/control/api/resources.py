"""Resources of every kind: get, put, delete, list. One set of endpoints a kind, made from the registry."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from mesh.control.access import Action
from mesh.control.api.documents import Documents, for_kubernetes
from mesh.control.api.endpoint import BODY_BYTES_MAX, VALUES_MAX, Call, Endpoint, Parameter, count_values
from mesh.control.api.known import find_known, known_resources
from mesh.control.api.paging import PAGE_PARAMETERS, list_schema, page_reply
from mesh.control.api.problems import InvalidParameter, Problem, bad_query, invalid_resource, not_found, parameter_of
from mesh.control.api.replies import etag, json_reply
from mesh.control.store.values import Conflict, Delete, Outcome, Put, Stored
from mesh.model.errors import ConfigError
from mesh.resources.loading import load_resource
from mesh.resources.registry import KINDS
from mesh.resources.resource import Kind, Resource

NOT_RETRIEVED = "Could not retrieve a resource"
NOT_DELETED = "Could not delete a resource"
ANY_MESH = "{mesh}"

_FILTERS = (
    Parameter(name="name", description="Only those with this in their name"),
    Parameter(name="filter[labels.KEY]", description="Only those whose label KEY has this value"),
)
_FORMS = ("universal", "k8s", "kubernetes")
_FORMAT = Parameter(
    name="format", description="As for universal or for Kubernetes", schema={"type": "string", "enum": list(_FORMS)}
)
WRITTEN: Mapping[str, Any] = {
    "type": "object",
    "properties": {"warnings": {"type": "array", "items": {"type": "string"}}},
}


# What is known rather than written has endpoints of its own.
_OBSERVED = ("DataplaneInsight", "MeshInsight", "ServiceInsight", "ZoneInsight")


def resource_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints of all kinds."""
    for kind in KINDS:
        if kind.name in _OBSERVED:
            continue
        if not kind.mesh_scoped:
            yield _listing(kind, f"/{kind.path}", f"List the {kind.name} resources")
            yield from _endpoints_of_one(kind, f"/{kind.path}/{{name}}")
            continue
        of_mesh = f"/meshes/{{mesh}}/{kind.path}"
        yield _listing(kind, of_mesh, f"List the {kind.name} resources of a mesh")
        yield _listing(kind, f"/{kind.path}", f"List the {kind.name} resources of all meshes")
        yield from _endpoints_of_one(kind, f"{of_mesh}/{{name}}")


def _schema(kind: Kind) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.name}"}


def _listing(kind: Kind, path: str, summary: str) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handle=_lister(kind),
        action=Action.READ,
        summary=summary,
        tag=kind.name,
        kind=kind.name,
        query=(*PAGE_PARAMETERS, *_FILTERS),
        reply=list_schema(_schema(kind)),
    )


def _endpoints_of_one(kind: Kind, path: str) -> Iterable[Endpoint]:
    common: dict[str, Any] = {"path": path, "kind": kind.name, "tag": kind.name}
    yield Endpoint(
        method="GET",
        handle=_getter(kind),
        action=Action.READ_OWN if kind.name == "Dataplane" else Action.READ,
        summary=f"Get a {kind.name}",
        query=(_FORMAT,),
        reply=_schema(kind),
        **common,
    )
    if kind.generated:
        return
    yield Endpoint(
        method="PUT",
        handle=_putter(kind),
        action=Action.WRITE,
        summary=f"Create or replace a {kind.name}",
        body=_schema(kind),
        body_bytes_max=2 * BODY_BYTES_MAX if kind.confidential else BODY_BYTES_MAX,
        reply=WRITTEN,
        statuses=(200, 201),
        **common,
    )
    yield Endpoint(
        method="DELETE", handle=_deleter(kind), action=Action.DELETE, summary=f"Delete a {kind.name}", **common
    )


def require_mesh(call: Call) -> str:
    """Return the mesh in the path. Raises: Problem 404 when there is none of that name."""
    mesh = call.path("mesh")
    if mesh not in call.plane.catalogue.meshes():
        raise not_found("Could not retrieve the mesh", f"there is no mesh {mesh!r}")
    return mesh


def _lister(kind: Kind) -> Any:
    async def list_resources(call: Call) -> Response:
        mesh = require_mesh(call) if "mesh" in call.request.path_params else None
        wanted = call.query("name")
        labels = _label_filters(call)
        found = [
            item
            for item in known_resources(call.plane, kind, mesh)
            if wanted in item.resource.name and item.resource.matches_labels(labels)
        ]
        return page_reply(call, found, Documents(call).of)

    return list_resources


def _label_filters(call: Call) -> dict[str, str]:
    prefix, suffix = "filter[labels.", "]"
    return {
        key.removeprefix(prefix).removesuffix(suffix): value
        for key, value in call.request.query_params.items()
        if key.startswith(prefix) and key.endswith(suffix)
    }


def _getter(kind: Kind) -> Any:
    async def get_resource(call: Call) -> Response:
        form = call.query("format", _FORMS[0])
        if form not in _FORMS:
            raise bad_query("format", f"Invalid format: expects {' or '.join(_FORMS)}")
        _, mesh, name = _key(call, kind)
        stored = find_known(call.plane, kind, mesh, name)
        if stored is None:
            raise not_found(NOT_RETRIEVED, f"there is no {kind.name} {name!r}")
        if form != _FORMS[0]:
            return json_reply(for_kubernetes(stored.resource, call.caller))
        headers = {"etag": etag(stored.version)} if stored.version else {}
        return json_reply(Documents(call).of(stored), headers=headers)

    return get_resource


def _putter(kind: Kind) -> Any:
    async def put_resource(call: Call) -> Response:
        body = await call.json()
        resource = read_resource(call, kind, body)
        before = call.plane.catalogue.get(resource.key)
        outcome, is_created = await _put(call, resource, before)
        warnings = [str(warning) for warning in resource.warnings]
        stored = outcome.stored[0] or before
        headers = {"etag": etag(stored.version)} if stored is not None else {}
        reply = {"warnings": warnings} if warnings else {}
        return json_reply(reply, status=201 if is_created else 200, headers=headers)

    return put_resource


async def _put(call: Call, resource: Resource, before: Stored | None) -> tuple[Outcome, bool]:
    """Write a resource as the headers ask; tell whether it is new. Raises: what Catalogue.write does, Problem 400, 412."""
    expected_version = _expected_version(call, before)
    write, by = call.plane.catalogue.write, str(call.caller)
    if before is not None or expected_version is not None:
        outcome = await write([Put(resource=resource, expected_version=expected_version)], by=by)
        return outcome, before is None
    try:
        return await write([Put(resource=resource, expected_version=0)], by=by), True
    except Conflict:  # Of several who found none, one has made it.
        return await write([Put(resource=resource)], by=by), False


def _deleter(kind: Kind) -> Any:
    async def delete_resource(call: Call) -> Response:
        key = _key(call, kind)
        before = call.plane.catalogue.get(key)
        if before is None:
            raise not_found(NOT_DELETED, f"there is no {kind.name} {call.path('name')!r}")
        change = Delete(key=key, expected_version=_expected_version(call, before))
        await call.plane.catalogue.write([change], by=str(call.caller))
        return json_reply({})

    return delete_resource


def read_resource(call: Call, kind: Kind, body: dict[str, Any]) -> Resource:
    """Read the resource in a body; what names it in the path counts, and the body may not say otherwise.

    Raises: Problem 400 with everything that is wrong, 413.
    """
    if count_values(body, most=VALUES_MAX) > VALUES_MAX:
        raise Problem(413, "Request too large", f"The resource has more than {VALUES_MAX} values")
    named = {"type": kind.name, **({"mesh": call.path("mesh")} if kind.mesh_scoped else {}), "name": call.path("name")}
    universal = "apiVersion" not in body
    if universal:
        clashes = [
            InvalidParameter(field=field, reason=f"{field} from the URL has to be the same as in body")
            for field, value in named.items()
            if body.get(field, value) != value
        ]
        if clashes:
            raise invalid_resource(clashes)
        body = {**named, **body}
    try:
        resource = load_resource(body, file="")
    except ConfigError as error:
        raise invalid_resource(parameter_of(violation) for violation in error.violations) from None
    if resource.key != (kind.name, named.get("mesh", ""), named["name"]):
        raise invalid_resource([InvalidParameter(field="metadata", reason="has to name the same as the URL")])
    return resource


def _key(call: Call, kind: Kind) -> tuple[str, str, str]:
    return (kind.name, call.path("mesh") if kind.mesh_scoped else "", call.path("name"))


def _expected_version(call: Call, before: Stored | None) -> int | None:
    """Return the version that If-Match or If-None-Match ask for; None where they ask for nothing. Raises: Problem 400, 412."""
    none_match = call.request.headers.get("if-none-match")
    if none_match is not None:
        if none_match.strip() != "*":
            raise _bad_header("If-None-Match", "expects *")
        return 0
    match = call.request.headers.get("if-match")
    if match is None:
        return None
    if match.strip() == "*":
        if before is None:
            raise Problem(412, "The resource has changed", "there is none, and If-Match asks for one")
        return before.version
    tag = match.strip().removeprefix("W/").strip('"')
    if not tag.isascii() or not tag.isdigit() or len(tag) > 15:
        raise _bad_header("If-Match", "expects the ETag of one version")
    return int(tag)


def _bad_header(name: str, reason: str) -> Problem:
    invalid = [InvalidParameter(field=name, reason=reason, source="header")]
    return Problem(400, "Bad request", f"{name} {reason}", invalid=invalid)
