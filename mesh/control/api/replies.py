"""Replies: values as JSON on the wire, versions as Kuma's clients read them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from mesh.control.api.problems import Problem

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def json_reply(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Reply with a JSON value."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        media_type="application/json",
        headers={**_HEADERS, **(headers or {})},
    )


def text_reply(text: str) -> Response:
    """Reply with plain text."""
    return Response(text, media_type="text/plain", headers=_HEADERS)


def problem_reply(problem: Problem) -> Response:
    """Reply with what is wrong."""
    return json_reply(problem.as_json(), status=problem.status, headers=problem.headers)


def etag(version: int) -> str:
    """Write the version of a resource as an entity tag."""
    return f'"{version}"'
