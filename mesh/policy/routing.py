"""Routing: by which of its properties a request is recognised, and what is changed on its way. Values only.

Source: Kuma MeshHTTPRoute, after the Gateway API (HTTPRouteMatch, HTTPRouteFilter); what each does on the wire is
Envoy's (`config.route.v3.RouteMatch`, `RouteAction`, `RedirectAction`). `route_table` finds the route of a request.
"""

import enum

import attrs


class PathMatchKind(enum.Enum):
    """How a path is compared. Kuma's words."""

    EXACT = "Exact"
    PREFIX = "PathPrefix"  # whole segments: /api covers /api and /api/x, not /apix
    REGULAR_EXPRESSION = "RegularExpression"  # of the whole path


class ValueMatchKind(enum.Enum):
    """How the value of a header or query parameter is compared. Kuma's words."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    REGULAR_EXPRESSION = "RegularExpression"  # of the whole value
    PRESENT = "Present"
    ABSENT = "Absent"


@attrs.frozen(kw_only=True)
class PathMatch:
    """What the path, without its query, has to be."""

    kind: PathMatchKind = PathMatchKind.PREFIX
    value: str = "/"


@attrs.frozen(kw_only=True)
class HeaderMatch:
    """What one header has to be; its name in lower case."""

    name: str
    kind: ValueMatchKind = ValueMatchKind.EXACT
    value: str = ""


@attrs.frozen(kw_only=True)
class QueryMatch:
    """What one query parameter has to be; EXACT or REGULAR_EXPRESSION."""

    name: str
    kind: ValueMatchKind = ValueMatchKind.EXACT
    value: str = ""


@attrs.frozen(kw_only=True)
class RouteMatch:
    """All of these have to match; nothing given: every request does."""

    path: PathMatch = PathMatch()
    method: str = ""  # "": any
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()


@attrs.frozen(kw_only=True)
class HeaderChanges:
    """Headers to set (whatever stood there goes), to add, and names to remove; names in lower case, in their order."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PathRewrite:
    """A new path: the whole of it, or, with `prefix`, what takes the place of the prefix that the route matched.

    The query stays in both cases.
    """

    value: str
    prefix: bool = False


@attrs.frozen(kw_only=True)
class Rewrite:
    """What the upstream is asked for instead. None or "": as the client asked."""

    hostname: str = ""
    path: PathRewrite | None = None


@attrs.frozen(kw_only=True)
class Redirect:
    """Where the client is sent; what is not given is as the client asked."""

    scheme: str = ""
    hostname: str = ""
    path: PathRewrite | None = None
    port: int = 0
    status: int = 302
