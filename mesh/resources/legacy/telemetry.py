"""2.14's logs, traces and metrics: OpenTelemetry endpoints inside of policies, which are resources of their own now."""

import re

from mesh.resources.documents import Path, Value
from mesh.resources.legacy.policies import rewrite_policy
from mesh.resources.legacy.rewriting import Rewriting
from mesh.resources.resource import DISPLAY_NAME

_GRPC = re.compile(r"([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?\Z")
_HTTP = re.compile(r"http://([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[^?#\s]*)?\Z")
_GRPC_PORT, _HTTP_PORT = 4317, 4318


def rewrite_telemetry(rewriting: Rewriting) -> None:
    """Rewrite endpoints to references, and what else changed in these kinds."""
    rewrite_policy(rewriting)
    for path in _backends(rewriting):
        _endpoint(rewriting, (*path, "openTelemetry"))
    used_only = ("spec", "default", "sidecar", "usedOnly")
    if isinstance(rewriting.at(used_only), bool) and rewriting.at((*used_only[:-1], "includeUnused")) is None:
        rewriting.put((*used_only[:-1], "includeUnused"), not rewriting.take(used_only), origin=used_only)
        rewriting.warn(used_only, "'usedOnly' is gone", "rewritten: includeUnused, its opposite")


def _backends(rewriting: Rewriting) -> list[Path]:
    places: list[Path] = [("spec", "default", "backends")]
    for side in ("to", "rules"):
        for index, _ in enumerate(rewriting.sequence(("spec", side))):
            places.append(("spec", side, index, "default", "backends"))
    return [(*place, number) for place in places for number, _ in enumerate(rewriting.sequence(place))]


def _endpoint(rewriting: Rewriting, path: Path) -> None:
    endpoint = rewriting.at((*path, "endpoint"))
    if not isinstance(endpoint, str) or "backendRef" in rewriting.mapping(path):
        return
    spec = _spec(endpoint)
    if spec is None:
        return
    name = f"{rewriting.name}-otel"
    name += "".join(f"-{part}" for part in path if isinstance(part, int) and part)
    rewriting.take((*path, "endpoint"))
    reference = {"kind": "MeshOpenTelemetryBackend", "labels": {DISPLAY_NAME: name}}
    rewriting.put((*path, "backendRef"), reference, origin=(*path, "endpoint"))
    beside = {"type": "MeshOpenTelemetryBackend", "mesh": rewriting.mesh, "name": name, "spec": spec}
    rewriting.add_beside(beside, {(): (*path, "endpoint")})
    replacement = f"rewritten: a MeshOpenTelemetryBackend '{name}', and a backendRef to it"
    rewriting.warn((*path, "endpoint"), "'endpoint' is gone since Kuma 3.0", replacement)


def _spec(endpoint: str) -> dict[str, Value] | None:
    found = _HTTP.match(endpoint)
    if found:
        path: dict[str, Value] = {"path": found[3]} if found[3] else {}
        return {"endpoint": {"address": found[1], "port": int(found[2] or _HTTP_PORT), **path}, "protocol": "http"}
    found = _GRPC.match(endpoint)
    if found:
        return {"endpoint": {"address": found[1], "port": int(found[2] or _GRPC_PORT)}, "protocol": "grpc"}
    return None
