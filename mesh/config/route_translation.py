"""From the rules of MeshHTTPRoutes, in Kuma's words, to the values that the data path routes by. Pure.

What is not here: which clusters backends are (`outbound_routes`), and the order of evaluation (`routes`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from mesh.policy.routing import (
    HeaderChanges,
    HeaderMatch,
    PathMatch,
    PathMatchKind,
    PathRewrite,
    QueryMatch,
    Redirect,
    Rewrite,
    RouteMatch,
    ValueMatchKind,
)
from mesh.resources.policy import Conf

_EVERY_PATH = {"type": PathMatchKind.PREFIX.value, "value": "/"}


def route_match(match: Conf) -> RouteMatch:
    """Translate one of a rule's `matches`."""
    path = match.get("path", _EVERY_PATH)
    return RouteMatch(
        path=PathMatch(kind=PathMatchKind(path["type"]), value=path["value"]),
        method=match.get("method", ""),
        headers=tuple(
            HeaderMatch(
                name=header["name"].lower(),
                kind=ValueMatchKind(header.get("type", ValueMatchKind.EXACT.value)),
                value=header.get("value", ""),
            )
            for header in match.get("headers", ())
        ),
        query=tuple(
            QueryMatch(name=parameter["name"], kind=ValueMatchKind(parameter["type"]), value=parameter["value"])
            for parameter in match.get("queryParams", ())
        ),
    )


def is_everything(match: Conf) -> bool:
    """Does it match every request by its path alone? Then the destination's own route would never be reached."""
    return not match or match == {"path": _EVERY_PATH}


def header_changes(filters: Iterable[Conf], key: str) -> tuple[HeaderChanges, ...]:
    """Translate the filters `requestHeaderModifier` or `responseHeaderModifier`, in their order."""
    return tuple(
        HeaderChanges(
            set=_fields(modifier.get("set", ())),
            add=_fields(modifier.get("add", ())),
            remove=tuple(name.lower() for name in modifier.get("remove", ())),
        )
        for modifier in _of(filters, key)
    )


def redirect(filters: Iterable[Conf]) -> Redirect | None:
    """Translate the last `requestRedirect`: there is one answer."""
    found = _of(filters, "requestRedirect")
    if not found:
        return None
    conf, default = found[-1], Redirect()
    return Redirect(
        scheme=conf.get("scheme", default.scheme),
        hostname=conf.get("hostname", default.hostname),
        path=_path_rewrite(conf),
        port=conf.get("port", default.port),
        status=conf.get("statusCode", default.status),
    )


def rewrite(filters: Iterable[Conf]) -> Rewrite | None:
    """Translate `urlRewrite`; of several, each says its part, and what comes later counts."""
    hostname, path = "", None
    for conf in _of(filters, "urlRewrite"):
        hostname, path = conf.get("hostname", hostname), _path_rewrite(conf) or path
    return Rewrite(hostname=hostname, path=path) if hostname or path else None


def mirrors(filters: Iterable[Conf]) -> list[tuple[Conf, float]]:
    """Return the references of `requestMirror` filters, and which percentage of the requests goes there."""
    return [(conf["backendRef"], float(conf.get("percentage", 100.0))) for conf in _of(filters, "requestMirror")]


def _of(filters: Iterable[Conf], key: str) -> list[Any]:
    return [entry[key] for entry in filters if key in entry]


def _fields(entries: Sequence[Conf]) -> tuple[tuple[str, str], ...]:
    return tuple((entry["name"].lower(), entry["value"]) for entry in entries)


def _path_rewrite(conf: Conf) -> PathRewrite | None:
    path = conf.get("path")
    if path is None:
        return None
    if "replacePrefixMatch" in path:
        return PathRewrite(value=path["replacePrefixMatch"], prefix=True)
    return PathRewrite(value=path["replaceFullPath"])
