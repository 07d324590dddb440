"""2.14's Mesh: what stood in it is now a resource of its own.

Identities keep 2.14's SPIFFE IDs, `spiffe://MESH/SERVICE`, so that whoever knows them knows them still.
"""

import base64
import binascii
import re
from typing import Any

from mesh.model.durations import format_duration, parse_duration
from mesh.resources.documents import Path, Value
from mesh.resources.legacy.rewriting import Rewriting

_MTLS: Path = ("mtls",)
_DAYS = re.compile(r"([0-9]+)(d|w|y)\Z")
_DAYS_BY_UNIT = {"d": 1, "w": 7, "y": 365}


def has_mtls(data: Value) -> bool:
    """Is it a mesh whose `mtls` is switched on?"""
    mtls = data.get("mtls") if isinstance(data, dict) and data.get("type") == "Mesh" else None
    return isinstance(mtls, dict) and bool(mtls.get("enabledBackend"))


def rewrite_mesh(rewriting: Rewriting) -> None:
    """Rewrite `mtls`, `networking` and `meshServices`; leave out what is empty."""
    if rewriting.mapping(_MTLS):
        _mtls(rewriting)
    passthrough = ("networking", "outbound", "passthrough")
    if isinstance(rewriting.at(passthrough), bool) and set(rewriting.mapping(("networking",))) == {"outbound"}:
        _passthrough(rewriting, passthrough)
    if "meshServices" in rewriting.data:
        rewriting.take(("meshServices",))
        replacement = "rewritten: left out, since services always are MeshServices"
        rewriting.warn(("meshServices",), "'meshServices' is gone since Kuma 3.0", replacement)
    for key in ("mtls", "tracing", "logging", "metrics", "networking", "routing", "constraints"):
        if rewriting.data.get(key, ...) in ({}, None):
            rewriting.take((key,))
            rewriting.warn((key,), f"'{key}' is gone since Kuma 3.0", "rewritten: left out")


def _mtls(rewriting: Rewriting) -> None:
    mtls = rewriting.mapping(_MTLS)
    enabled = mtls.get("enabledBackend")
    if not enabled:
        rewriting.take(_MTLS)
        rewriting.warn(_MTLS, "'mtls' is gone since Kuma 3.0", "rewritten: left out, since no backend was enabled")
        return
    backends = rewriting.sequence((*_MTLS, "backends"))
    found = [
        index for index, backend in enumerate(backends) if isinstance(backend, dict) and backend.get("name") == enabled
    ]
    if not found:
        rewriting.refuse((*_MTLS, "enabledBackend"), f"there is no backend '{enabled}'", "name one of mtls.backends")
        rewriting.take(_MTLS)
        return
    path, backend = (*_MTLS, "backends", found[0]), backends[found[0]]
    bundled = _bundled(rewriting, path, backend)
    if bundled is not None:
        mode = "Permissive" if backend.get("mode") == "PERMISSIVE" else "Strict"
        _add(rewriting, "MeshIdentity", _identity(bundled), _places(path))
        _add(rewriting, "MeshTLS", {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {"mode": mode}}]}, {})
        replacement = (
            "rewritten: a MeshIdentity 'mtls' by an authority made anew, and a MeshTLS 'mtls' with mode: " + mode
        )
        rewriting.warn(_MTLS, "'mtls' is gone since Kuma 3.0", replacement)
    rewriting.take(_MTLS)


def _places(backend: Path) -> dict[Path, Path]:
    bundled: Path = ("spec", "provider", "bundled")
    expiry = (*bundled, "certificateParameters", "expiry")
    return {(*bundled, "ca"): (*backend, "conf"), expiry: (*backend, "dpCert", "rotation", "expiration")}


def _add(rewriting: Rewriting, kind: str, spec: dict[str, Any], origins: dict[Path, Path]) -> None:
    document = {"type": kind, "mesh": rewriting.name, "name": "mtls", "spec": spec}
    rewriting.add_beside(document, {(): _MTLS, **origins})


def _identity(bundled: dict[str, Any]) -> dict[str, Any]:
    return {
        "selector": {"dataplane": {"matchLabels": {}}},
        "spiffeID": {"trustDomain": "{{ .Mesh }}", "path": "/{{ .Workload }}"},
        "provider": {"type": "Bundled", "bundled": bundled},
    }


def _bundled(rewriting: Rewriting, path: Path, backend: dict[str, Any]) -> dict[str, Any] | None:
    """Return the provider that a backend is now, or refuse it."""
    result: dict[str, Any] = {"meshTrustCreation": "Enabled", "insecureAllowSelfSigned": True}
    if backend.get("type") == "builtin":
        result["autogenerate"] = {"enabled": True}
    elif backend.get("type") == "provided":
        conf = rewriting.mapping((*path, "conf"))
        ca = {key: _source(conf.get(old)) for key, old in (("certificate", "cert"), ("privateKey", "key"))}
        result["autogenerate"], result["ca"] = {"enabled": False}, ca
    else:
        hint = "write a MeshIdentity with provider: {type: Bundled, bundled: {autogenerate: {enabled: true}}}"
        rewriting.refuse((*path, "type"), "certificates cannot be issued by this backend", hint)
        return None
    expiration = rewriting.at((*path, "dpCert", "rotation", "expiration"))
    if isinstance(expiration, str):
        result["certificateParameters"] = {"expiry": _expiry(expiration)}
    return result


def _expiry(text: str) -> str:
    """Write a span as 3.0 has it; in this one place 2.14 took days, weeks and years."""
    days = _DAYS.match(text)
    if days:
        return format_duration(int(days[1]) * _DAYS_BY_UNIT[days[2]] * 86400.0)
    try:
        return format_duration(parse_duration(text))
    except ValueError:
        return text  # The schema says what is wrong with it.


def _source(source: Any) -> Value:
    match source:
        case {"secret": str(name)}:
            return {"type": "Secret", "secretRef": {"kind": "Secret", "name": name}}
        case {"file": str(path)}:
            return {"type": "File", "file": {"path": path}}
        case {"inlineString": str(value)}:
            return {"type": "InsecureInline", "insecureInline": {"value": value}}
        case {"inline": str(value)}:
            try:
                decoded = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                decoded = ""
            return {"type": "InsecureInline", "insecureInline": {"value": decoded}}
        case _:
            return {}


def _passthrough(rewriting: Rewriting, path: Path) -> None:
    allowed = rewriting.at(path)
    rewriting.take(("networking",))
    if allowed:
        rewriting.warn(path, "'networking' is gone since Kuma 3.0", "rewritten: left out, which means all")
        return
    document = {"type": "MeshPassthrough", "mesh": rewriting.name, "name": "passthrough"}
    rewriting.add_beside({**document, "spec": {"default": {"passthroughMode": "None"}}}, {(): path})
    rewriting.warn(
        path, "'networking' is gone since Kuma 3.0", "rewritten: a MeshPassthrough with passthroughMode: None"
    )
