"""Applying several resources at once, and what that would change: `POST /apply`, `POST /diff`. Ours, beyond Kuma's API."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import trio
from starlette.responses import Response

from mesh.control.access import Action, decide
from mesh.control.api.endpoint import MIB, VALUES_MAX, Call, Endpoint, count_values
from mesh.control.api.gate import forbidden, require
from mesh.control.api.problems import INVALID_MAX, InvalidParameter, invalid_resource, parameter_of
from mesh.control.api.redaction import without_secrets
from mesh.control.api.replies import json_reply
from mesh.control.api.validity import Body
from mesh.control.store.values import Delete, Put
from mesh.control.write_plan import released, same
from mesh.model.errors import ConfigError, Violation
from mesh.resources.loading import load_resource
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import Resource

RESOURCES_MAX = 10_000
BODY_BYTES_MAX = 16 * MIB

_RESOURCES = {"type": "array", "items": {"type": "object"}, "maxItems": RESOURCES_MAX}
_NAMED = {"type": {"type": "string"}, "mesh": {"type": "string"}, "name": {"type": "string"}}
_ACTION = {"type": "string", "enum": ["created", "updated", "unchanged", "deleted"]}
_WARNINGS = {"type": "array", "items": {"type": "string"}}
_RESULT = {
    "type": "object",
    "properties": {**_NAMED, "action": _ACTION, "version": {"type": "integer"}, "warnings": _WARNINGS},
}


def applying_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints that take several resources."""
    yield Endpoint(
        method="POST",
        path="/apply",
        handle=_apply,
        action=Action.READ,  # A dry run is no more than that.
        summary="Create and update resources, all or none",
        tag="Apply",
        body={
            "type": "object",
            "properties": {"resources": _RESOURCES, "dryRun": {"type": "boolean"}},
            "required": ["resources"],
        },
        reply={
            "type": "object",
            "properties": {
                "revision": {"type": "integer"},
                "dryRun": {"type": "boolean"},
                "results": {"type": "array", "items": _RESULT},
            },
        },
        body_bytes_max=BODY_BYTES_MAX,
    )
    change = {"part": {"type": "string"}, "op": {"type": "string"}, "before": {}, "after": {}}
    proxy = {**_NAMED, "changes": {"type": "array", "items": {"type": "object", "properties": change}}}
    yield Endpoint(
        method="POST",
        path="/diff",
        handle=_diff,
        action=Action.READ,
        summary="Show what resources and deletions would change, proxy by proxy",
        tag="Apply",
        body={
            "type": "object",
            "properties": {
                "resources": _RESOURCES,
                "deletions": {"type": "array", "items": {"type": "object", "properties": _NAMED}},
            },
        },
        reply={
            "type": "object",
            "properties": {
                "proxies": {"type": "array", "items": {"type": "object", "properties": proxy}},
                "resources": {"type": "array", "items": _RESULT},
            },
        },
        body_bytes_max=BODY_BYTES_MAX,
    )


async def _apply(call: Call) -> Response:
    body = Body(await call.json(), "Could not apply the resources")
    documents = body.records("resources", most=RESOURCES_MAX)
    dry_run = body.flag("dryRun")
    body.check()
    if not dry_run:
        require(call.caller, Action.APPLY)
    resources = await _read(documents)
    _require_all(call, Action.READ if dry_run else Action.WRITE, [resource.kind for resource in resources])
    results = [await _result(call, resource) for resource in resources]
    changes: list[Put | Delete] = [Put(resource=resource) for resource in resources]
    _check(call, changes, resources)
    if dry_run:
        return json_reply({"revision": call.plane.catalogue.revision, "dryRun": True, "results": results})
    try:
        outcome = await call.plane.catalogue.write(changes, by=str(call.caller))
    except ConfigError as error:  # It has become wrong since it was checked.
        raise _refused(error.violations, resources) from None
    for result, stored in zip(results, outcome.stored, strict=True):
        result["version"] = stored.version if stored is not None else result["version"]
    return json_reply({"revision": outcome.revision, "dryRun": False, "results": results})


async def _diff(call: Call) -> Response:
    body = Body(await call.json(), "Could not compare the resources")
    documents = body.records("resources", most=RESOURCES_MAX)
    deletions = _read_deletions(body)
    body.check()
    resources = await _read(documents)
    kinds = [resource.kind for resource in resources] + [deletion.key[0] for deletion in deletions]
    _require_all(call, Action.READ, kinds)
    changes: list[Put | Delete] = [*(Put(resource=resource) for resource in resources), *deletions]
    _check(call, changes, resources)
    preview = call.plane.preview(changes)
    proxies = [
        {
            "mesh": proxy.proxy.mesh,
            "name": proxy.proxy.name,
            "changes": [_change(change) for change in proxy.changes],
        }
        for proxy in preview.proxies
        if proxy.changes
    ]
    results = [await _result(call, resource) for resource in resources]
    results += [_named(deletion.key, "deleted") for deletion in deletions if call.plane.catalogue.get(deletion.key)]
    return json_reply({"proxies": proxies, "resources": results})


def _change(change: Any) -> dict[str, Any]:
    """Write what would become of one part, without the secrets in it."""
    return {
        "part": change.part,
        "op": change.op,
        "before": without_secrets(change.before),
        "after": without_secrets(change.after),
    }


async def _read(documents: list[dict[str, Any]]) -> list[Resource]:
    """Read all resources. Raises: Problem 400 with what is wrong with any of them, up to as much as is shown."""
    resources: list[Resource] = []
    invalid: list[InvalidParameter] = []
    for index, document in enumerate(documents):
        await trio.lowlevel.checkpoint()  # Thousands of them take seconds, and sidecars have leases to renew.
        place = f"resources[{index}]"
        if len(invalid) > INVALID_MAX:
            break
        if count_values(document, most=VALUES_MAX) > VALUES_MAX:
            invalid.append(InvalidParameter(field=place, reason=f"has more than {VALUES_MAX} values"))
            continue
        try:
            resources.append(load_resource(document, file=place))
        except ConfigError as error:
            named = {key: document[key] for key in ("type", "mesh", "name") if isinstance(document.get(key), str)}
            invalid += [parameter_of(violation, prefix=place, resource=named) for violation in error.violations]
    if invalid:
        raise invalid_resource(invalid)
    return resources


def _read_deletions(body: Body) -> list[Delete]:
    deletions: list[Delete] = []
    for index, record in enumerate(body.records("deletions", most=RESOURCES_MAX)):
        kind = KIND_BY_NAME.get(str(record.get("type")))
        name, mesh = record.get("name"), record.get("mesh") or ""
        if kind is None or not isinstance(name, str) or not isinstance(mesh, str):
            body.refuse(f"deletions[{index}]", "expects type, name and, for kinds of a mesh, mesh")
        else:
            deletions.append(Delete(key=(kind.name, mesh if kind.mesh_scoped else "", name)))
    return deletions


def _require_all(call: Call, action: Action, kinds: Iterable[str]) -> None:
    """Decide on each kind; all or nothing. Raises: Problem 403."""
    refusals = [refusal for kind in dict.fromkeys(kinds) if (refusal := decide(call.caller, action, kind))]
    if refusals:
        raise forbidden("; ".join(refusals))


def _check(call: Call, changes: list[Put | Delete], resources: list[Resource]) -> None:
    violations = call.plane.catalogue.check(changes)
    if violations:
        raise _refused(violations, resources)


def _refused(violations: Iterable[Violation], resources: list[Resource]) -> Exception:
    """Say which of the resources each violation is about: `file` holds its place in the body."""
    by_place = {resource.source.file: resource for resource in resources}
    return invalid_resource(
        parameter_of(
            violation,
            prefix=violation.file,
            resource=_key_of(by_place[violation.file]) if violation.file in by_place else None,
        )
        for violation in violations
    )


async def _result(call: Call, resource: Resource) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    before = call.plane.catalogue.get(resource.key)
    if before is None:
        action = "created"
    else:
        # The label of what files hold is not the caller's to give or to take away.
        action = "unchanged" if same(released(resource), released(before.resource)) else "updated"
    version = before.version if before is not None else 0
    warnings = [_warning(warning) for warning in resource.warnings]
    return {**_named(resource.key, action), "version": version, "warnings": warnings}


def _warning(warning: Violation) -> str:
    """Write a warning without its place, which is known from the result it stands in."""
    return str(attrs.evolve(warning, file="", line=0, column=0))


def _named(key: tuple[str, str, str], action: str) -> dict[str, Any]:
    kind, mesh, name = key
    return {"type": kind, **({"mesh": mesh} if mesh else {}), "name": name, "action": action}


def _key_of(resource: Resource) -> Mapping[str, Any]:
    own = {"mesh": resource.mesh} if resource.mesh else {}
    return {"type": resource.kind, **own, "name": resource.name}
