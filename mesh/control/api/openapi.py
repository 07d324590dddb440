"""The API's own description: an OpenAPI 3.1 document made from the table of endpoints and the schemas of the kinds."""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.responses import Response

from mesh import __version__
from mesh.control.access import Action
from mesh.control.api.endpoint import Call, Endpoint
from mesh.control.api.problems import TYPE
from mesh.control.api.replies import json_reply
from mesh.resources.registry import KINDS, kind_json_schema

PATH = "/openapi.json"
_PARAMETER = re.compile(r"{(\w+)}")
_TEXT = {"type": "string"}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "status", "title", "detail"],
    "properties": {
        "type": {"const": TYPE},
        "status": {"type": "integer"},
        "title": _TEXT,
        "detail": _TEXT,
        "invalid_parameters": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason", "source"],
                "properties": {
                    "field": _TEXT,
                    "reason": _TEXT,
                    "source": {"enum": ["body", "query", "header", "path"]},
                    "resource": {"type": "object"},
                },
            },
        },
        "details": {**_TEXT, "deprecated": True},
        "causes": {"type": "array", "items": {"type": "object"}, "deprecated": True},
    },
}


def openapi_endpoint(table: Sequence[Endpoint]) -> Endpoint:
    """Return the endpoint that serves the description of `table`, itself included."""

    @functools.cache  # It takes some 20 ms, and never changes.
    def described() -> dict[str, Any]:
        return document([*table, endpoint])

    async def describe_api(call: Call) -> Response:
        return json_reply(described())

    endpoint = Endpoint(
        method="GET",
        path=PATH,
        handle=describe_api,
        action=Action.READ_STATE,
        summary="This description",
        tag="System",
    )
    return endpoint


def document(table: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of a table of endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        path = paths.setdefault(endpoint.path, {})
        if names := _PARAMETER.findall(endpoint.path):
            path["parameters"] = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
        path[endpoint.method.lower()] = _operation(endpoint)
    schemas = {kind.name: _inner(kind_json_schema(kind)) for kind in KINDS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "trio-mesh control plane", "version": __version__},
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "responses": {
                "Problem": {"description": "What went wrong", **_content({"$ref": "#/components/schemas/Problem"})}
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "responses": {
            **{str(status): {"description": "Done", **_reply(endpoint)} for status in endpoint.statuses},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if endpoint.action is Action.INDEX:
        operation["security"] = [{}, {"token": []}]
    if endpoint.query:
        operation["parameters"] = [
            {"name": query.name, "in": "query", "description": query.description, "schema": dict(query.schema)}
            for query in endpoint.query
        ]
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, **_content(endpoint.body)}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = _PARAMETER.sub(r"by-\1", endpoint.path).replace("/", " ").replace("_", " ").split()
    return "-".join([endpoint.method.lower(), *(words or ["index"])])


def _reply(endpoint: Endpoint) -> dict[str, Any]:
    return _content(endpoint.reply if endpoint.reply is not None else _TEXT, media_type=endpoint.media_type)


def _content(schema: Any, *, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": dict(schema)}}}


def _inner(schema: dict[str, Any]) -> dict[str, Any]:
    """The dialect is OpenAPI 3.1's own."""
    return {key: value for key, value in schema.items() if key != "$schema"}
