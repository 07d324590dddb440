"""Endpoint: one method of one path, as a value; and Call, one request to it that was let in.

The table of endpoints is all there is to the API: routing, the rights that are asked for and the OpenAPI document follow
from it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from mesh.control.access import Action, Caller
from mesh.control.api.ports import ApiSettings, Plane
from mesh.control.api.problems import Problem, bad_body, bad_query
from mesh.runtime.environment import Environment

MIB = 1024 * 1024
BODY_BYTES_MAX = MIB
BODY_S_MAX = 60.0  # The whole body: one that comes in drops holds a connection no longer.
DEPTH_MAX = 64
VALUES_MAX = 20_000  # in one resource: reading it must not hold up the sidecars' streams

Handler = Callable[["Call"], Awaitable[Response]]
JsonSchema = Mapping[str, Any]
ANY_OBJECT: JsonSchema = {"type": "object"}


@attrs.frozen(kw_only=True)
class Parameter:
    """One query parameter. Unknown ones are passed over, as by Kuma."""

    name: str
    description: str
    schema: JsonSchema = attrs.field(factory=lambda: {"type": "string"})


@attrs.frozen(kw_only=True, eq=False)
class Endpoint:
    """What answers to one method of one path. `kind` is the kind of resource it is about, for the decision and the docs.

    `body`, `reply`: JSON Schemas of what comes and goes; None: nothing, or not JSON (`media_type`).
    """

    method: str
    path: str
    handle: Handler
    action: Action
    summary: str
    tag: str
    kind: str = ""
    query: tuple[Parameter, ...] = ()
    body: JsonSchema | None = None
    reply: JsonSchema | None = ANY_OBJECT
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    body_bytes_max: int = BODY_BYTES_MAX


@attrs.frozen(kw_only=True, eq=False)
class Call:
    """One request: who asks for what, and the control plane to ask."""

    plane: Plane
    settings: ApiSettings
    env: Environment
    endpoint: Endpoint
    caller: Caller
    request: Request

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter."""
        return self.request.query_params.get(name, default)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a query parameter that is a number. Raises: Problem 400."""
        text = self.query(name)
        if not text:
            return default
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
        if not least <= number <= most:
            raise bad_query(name, f"Invalid {name}: expects a number from {least} to {most}")
        return number

    def flag(self, name: str) -> bool | None:
        """Return a query parameter that is true or false, None where it is absent. Raises: Problem 400."""
        text = self.query(name)
        if text not in ("", "true", "false"):
            raise bad_query(name, f"Invalid {name}: expects true or false")
        return None if not text else text == "true"

    def now(self) -> float:
        """Return the date, in seconds since the epoch."""
        return self.env.wall_clock()

    async def json(self) -> dict[str, Any]:
        """Return the body, a JSON object. Raises: Problem 400, 408, 413."""
        data = await self._body()
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise bad_body(f"The body is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise bad_body("The body is not a JSON object")
        if _is_deep(value):
            raise bad_body(f"The body is nested more than {DEPTH_MAX} deep")
        return value

    async def _body(self) -> bytes:
        limit = self.endpoint.body_bytes_max
        declared = self.request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size, more = 0, True
        with trio.move_on_after(BODY_S_MAX) as scope:
            while more:
                message = await self.request.receive()
                if message["type"] == "http.disconnect":
                    raise bad_body("The body ended too early")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
                more = message.get("more_body", False)
        if scope.cancelled_caught:
            raise Problem(408, "Request timeout", f"The body did not arrive within {BODY_S_MAX:.0f} s")
        return b"".join(chunks)


def count_values(value: Any, *, most: int) -> int:
    """Return how many values, keys among them, stand in a value that is not deep; counting ends above `most`."""
    count, level = 0, [value]
    while level and count <= most:
        below: list[Any] = []
        for item in level:
            count += 1
            match item:
                case dict():
                    count += len(item)
                    below += item.values()
                case list():
                    below += item
        level = below
    return count


def _too_large(limit: int) -> Problem:
    return Problem(413, "Request too large", f"The body is larger than {limit} bytes")


def _is_deep(value: Any) -> bool:
    """Tell whether values nest too deep for what reads them; looks at one level after another."""
    level = [value]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for item in level:
            match item:
                case dict():
                    below += item.values()
                case list():
                    below += item
        if not below:
            return False
        level = below
    return True
