"""The HTTP API as one ASGI application: finds the endpoint, lets the caller in, turns what goes wrong into Kuma's errors.

Pure ASGI, callable in memory; knows neither sockets nor TLS (`mesh.runtime.real.asgi_server` serves it).
"""

from collections.abc import Iterable
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from mesh.control.access import Action, Caller
from mesh.control.api import problems
from mesh.control.api.authentication import Authenticator
from mesh.control.api.endpoint import Call, Endpoint
from mesh.control.api.gate import authorize, require
from mesh.control.api.ports import ApiSettings, Plane
from mesh.control.api.problems import Problem
from mesh.control.api.replies import problem_reply
from mesh.control.api.table import endpoints
from mesh.control.store.values import Conflict
from mesh.model.errors import ConfigError, IdentityError, OutcomeUnknown, StoreError
from mesh.runtime.environment import Environment


def make_app(plane: Plane, *, settings: ApiSettings, env: Environment) -> "Api":
    """Make the ASGI application of one control plane."""
    return Api(plane, settings=settings, env=env, table=endpoints())


@attrs.frozen(eq=False)
class _Path:
    """One path and what answers to each method of it."""

    route: Route
    by_method: dict[str, Endpoint]


class Api:
    """See the module."""

    def __init__(self, plane: Plane, *, settings: ApiSettings, env: Environment, table: Iterable[Endpoint]) -> None:
        self._plane = plane
        self._settings = settings
        self._env = env
        self._authenticator = Authenticator(tokens=plane.tokens, dev=settings.dev)
        # Grouped by the number of segments, which parameters do not change: a request is compared with few.
        self._paths_by_depth: dict[int, list[_Path]] = {}
        path_by_text: dict[str, _Path] = {}
        for endpoint in table:
            if endpoint.path not in path_by_text:
                path = _Path(Route(endpoint.path, _nothing), {})
                path_by_text[endpoint.path] = path
                self._paths_by_depth.setdefault(endpoint.path.count("/"), []).append(path)
            path_by_text[endpoint.path].by_method[endpoint.method] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except Problem as problem:
            if problem.status in (401, 403):
                self._env.log.info("api.denied", status=problem.status, path=request.scope["path"][:200])
            return problem_reply(problem)
        except Exception as error:  # What one request breaks is that request: nobody above could say more.
            expected = _expected(error, request)
            if expected is not None:
                if expected.status >= 500:
                    self._env.log.warning("api.failed", path=request.scope["path"][:200], reason=str(error))
                return problem_reply(expected)
            self._env.log.exception("api.crashed", method=request.method, path=request.scope["path"][:200])
            return problem_reply(Problem(500, "Internal server error", "The control plane's log says more"))

    async def _answer(self, request: Request) -> Response:
        caller = self._authenticator.identify(request, now=self._env.wall_clock())
        endpoint = self._find(request, caller)
        call = Call(
            plane=self._plane,
            settings=self._settings,
            env=self._env,
            endpoint=endpoint,
            caller=caller,
            request=request,
        )
        authorize(call)
        return await endpoint.handle(call)

    def _find(self, request: Request, caller: Caller) -> Endpoint:
        """Return what answers; whoever shows nothing does not learn what there is. Raises: Problem 401, 404, 405."""
        scope = request.scope
        if len(scope["path"]) > 1:
            scope["path"] = scope["path"].rstrip("/") or "/"
        method = "GET" if request.method == "HEAD" else request.method
        allowed: list[str] = []
        for path in self._paths_by_depth.get(scope["path"].count("/"), ()):
            match, matched = path.route.matches(scope)
            if match is Match.NONE:
                continue
            if method in path.by_method:
                scope.update(matched)
                return path.by_method[method]
            allowed += path.by_method
        require(caller, Action.WHO_AM_I)
        if allowed:
            headers = {"allow": ", ".join(sorted(allowed))}
            raise Problem(405, "Method not allowed", f"{method} is not possible here", headers=headers)
        raise problems.not_found("Page not found", "There is nothing at this path")


def _expected(error: Exception, request: Request) -> Problem | None:
    """Turn errors of what is below into answers; None for what is our own bug."""
    match error:
        case ConfigError():
            return problems.invalid_resource(problems.parameter_of(violation) for violation in error.violations)
        case Conflict():
            status = 412 if {"if-match", "if-none-match"} & set(request.headers) else 409
            return Problem(status, "The resource has changed", str(error))
        case OutcomeUnknown():
            detail = "The store failed while it was written: it may have happened. Read again before going on"
            return Problem(503, "The outcome is not known", detail, headers={"retry-after": "1"})
        case StoreError():
            return Problem(503, "The store is not available", str(error), headers={"retry-after": "1"})
        case IdentityError():
            return Problem(400, "Could not issue a token", str(error))
        case _:
            return None


async def _nothing(request: Any) -> Response:
    raise AssertionError("endpoints are called by the application itself")
