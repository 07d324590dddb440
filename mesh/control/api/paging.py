"""Paging: lists in pages as Kuma's, with a link to the next one."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from starlette.responses import Response

from mesh.control.api.endpoint import Call, JsonSchema, Parameter
from mesh.control.api.problems import bad_query
from mesh.control.api.replies import json_reply

SIZE = 100
SIZE_MAX = 1000
_OFFSET_MAX = 10**9
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?\Z|\[[0-9A-Fa-f:.]+\](:\d{1,5})?\Z")

PAGE_PARAMETERS = (
    Parameter(
        name="size", description="How many items at most", schema={"type": "integer", "minimum": 1, "maximum": SIZE_MAX}
    ),
    Parameter(name="offset", description="Where the page begins", schema={"type": "integer", "minimum": 0}),
)

T = TypeVar("T")


def list_schema(item: JsonSchema) -> JsonSchema:
    """Describe a page of items."""
    return {
        "type": "object",
        "required": ["total", "items", "next"],
        "properties": {
            "total": {"type": "integer"},
            "items": {"type": "array", "items": item},
            "next": {"type": ["string", "null"], "description": "URL of the next page"},
        },
    }


def page_reply(call: Call, items: Sequence[T], render: Callable[[T], Any]) -> Response:
    """Reply with the page that was asked for; only its items are rendered. Raises: Problem 400."""
    size = call.number("size", SIZE, least=1, most=_OFFSET_MAX)
    if size > SIZE_MAX:
        raise bad_query("size", f"Invalid page size. Max page size is {SIZE_MAX}")
    offset = call.number("offset", 0, least=0, most=_OFFSET_MAX)
    end = offset + size
    link = next_url(call, end, size) if end < len(items) else None
    return json_reply({"total": len(items), "items": [render(item) for item in items[offset:end]], "next": link})


def next_url(call: Call, offset: int, size: int) -> str:
    """Write the absolute URL of another page of the same list, under the name by which we were called."""
    asked = [(key, value) for key, value in call.request.query_params.multi_items() if key not in ("offset", "size")]
    query = urlencode([*asked, ("offset", str(offset)), ("size", str(size))])
    return f"{base_url(call)}{quote(call.request.scope['path'])}?{query}"


def base_url(call: Call) -> str:
    """Return `scheme://host` as the client called us; where its Host is none, as we are bound."""
    host = call.request.headers.get("host", "")
    if not _HOST.match(host):
        address, port = call.request.scope.get("server") or ("localhost", None)
        host = f"[{address}]" if ":" in address else address
        host += f":{port}" if port else ""
    return f"{call.request.scope['scheme']}://{host}"
