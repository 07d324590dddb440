"""MeshHTTPRoute: which requests go where, and what is changed on the way. Source: Kuma, after the Gateway API."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.backend_refs import BACKEND_REF
from mesh.resources.dataplane import PORT
from mesh.resources.headers import HEADER_MATCH, HEADER_MODIFIER, valid_expression
from mesh.resources.policy import RouteRule, policy_kind
from mesh.resources.scalars import Integer, Number, OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record
from mesh.resources.target_ref import SERVICES
from mesh.resources.variants import Variant, by_type

_HOST = Text(what="a host name, not an IP address", pattern=r"(?![0-9.]+$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?", size_max=253)
_STATUS_CODES = (301, 302, 303, 307, 308)
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")


def _path(match: dict[str, Any]) -> Iterable[Problem]:
    kind, value = match["type"], match["value"]
    if kind == "RegularExpression":
        yield from valid_expression(value)
    elif not value.startswith("/"):
        yield Problem(("value",), f"expects an absolute path, got '{value}'")
    elif kind == "PathPrefix" and value != "/" and value.endswith("/"):
        yield Problem(("value",), "a prefix ends without '/'", "it matches whole segments of the path")


def _parameter(match: dict[str, Any]) -> Iterable[Problem]:
    if match["type"] == "RegularExpression":
        yield from valid_expression(match["value"])


def _match(match: dict[str, Any]) -> Iterable[Problem]:
    if not match:
        yield Problem((), "needs at least one of path, method, queryParams, headers")
    names: set[str] = set()
    for index, parameter in enumerate(match.get("queryParams", ())):
        if parameter["name"] in names:
            yield Problem(("queryParams", index), f"parameter '{parameter['name']}' is there twice")
        names.add(parameter["name"])


_PATH_MATCH = Record(
    {
        "type": Field(OneOf(("Exact", "PathPrefix", "RegularExpression")), required=True),
        "value": Field(Text(), required=True),
    },
    check=_path,
)
_PARAMETER_MATCH = Record(
    {
        "type": Field(OneOf(("Exact", "RegularExpression")), required=True),
        "name": Field(Text(), required=True),
        "value": Field(Text(empty=True), required=True),
    },
    check=_parameter,
)
_MATCH = Record(
    {
        "path": _PATH_MATCH,
        "method": OneOf(_METHODS),
        "queryParams": ListOf(_PARAMETER_MATCH),
        "headers": ListOf(HEADER_MATCH),
    },
    check=_match,
)

# Written into requests as it stands: ASCII, and neither `?` nor `#`, for the query is the client's.
_PATH = Text(what="an absolute path without query", pattern=r"/[!-\"$->@-~]*")
_NEW_PATH = by_type(
    {
        "ReplaceFullPath": Variant("replaceFullPath", _PATH),
        "ReplacePrefixMatch": Variant("replacePrefixMatch", _PATH),
    }
)


def _status(redirect: dict[str, Any]) -> Iterable[Problem]:
    code = redirect.get("statusCode", 302)
    if code not in _STATUS_CODES:
        yield Problem(("statusCode",), f"expects one of {', '.join(map(str, _STATUS_CODES))}, got {code}")


_REDIRECT = Record(
    {
        "scheme": OneOf(("http", "https")),
        "hostname": _HOST,
        "path": _NEW_PATH,
        "port": PORT,
        "statusCode": Integer(min=300, max=399),
    },
    check=_status,
)
_REWRITE = Record(
    {"hostname": _HOST, "path": _NEW_PATH},
    retired={"hostToBackendHostname": "write the hostname; Kuma does not support it either"},
)
_MIRROR = Record({"percentage": Number(min=0, max=100, text=True), "backendRef": Field(BACKEND_REF, required=True)})
_FILTER = by_type(
    {
        "RequestHeaderModifier": Variant("requestHeaderModifier", HEADER_MODIFIER),
        "ResponseHeaderModifier": Variant("responseHeaderModifier", HEADER_MODIFIER),
        "RequestRedirect": Variant("requestRedirect", _REDIRECT),
        "URLRewrite": Variant("urlRewrite", _REWRITE),
        "RequestMirror": Variant("requestMirror", _MIRROR),
    }
)


def _prefix_to_replace(rule: dict[str, Any]) -> Iterable[Problem]:
    if all(match.get("path", {}).get("type") == "PathPrefix" for match in rule["matches"]):
        return
    for index, entry in enumerate(rule["default"].get("filters", ())):
        for key in ("requestRedirect", "urlRewrite"):
            if "replacePrefixMatch" in entry.get(key, {}).get("path", {}):
                place = ("default", "filters", index, key, "path", "replacePrefixMatch")
                yield Problem(place, "a prefix can only be replaced where all matches have a path of type PathPrefix")


_RULE = Record(
    {
        "matches": Field(ListOf(_MATCH, size_min=1), required=True),
        "default": Field(Record({"filters": ListOf(_FILTER), "backendRefs": ListOf(BACKEND_REF)}), required=True),
    },
    check=_prefix_to_replace,
    build=lambda rule: RouteRule(matches=rule["matches"], default=rule["default"]),
)

MESH_HTTP_ROUTE = policy_kind(
    "MeshHTTPRoute",
    path="meshhttproutes",
    short="mhttpr",
    routes=_RULE,
    to_kinds=SERVICES,
    retired_in_to={"hostnames": "leave it out: Kuma does not support it either"},
)
