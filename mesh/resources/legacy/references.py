"""2.14's references: by name, by tags and by kinds that are gone; now all are by labels.

`kuma.io/service` is what `kuma.io/workload` is now on Dataplanes, and the display name of their MeshService.
"""

import re
from collections.abc import Mapping
from typing import Any

from mesh.resources.documents import Path
from mesh.resources.legacy.rewriting import Rewriting
from mesh.resources.resource import DISPLAY_NAME, NAMESPACE, WORKLOAD

SERVICE = "kuma.io/service"
PROTOCOL = "kuma.io/protocol"

# How Kubernetes' services were called: NAME_NAMESPACE_svc_PORT.
_KUBERNETES_NAME = re.compile(r"([a-z0-9.-]+)_([a-z0-9.-]+)_svc(?:_([0-9]+))?\Z")
_BY_NAME = ("MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")


def labels_of_tags(tags: Any) -> dict[str, str] | None:
    """Return the labels by which 2.14's tags are now selected; None where there are none."""
    if not isinstance(tags, Mapping) or PROTOCOL in tags or not all(isinstance(value, str) for value in tags.values()):
        return None
    if _KUBERNETES_NAME.match(tags.get(SERVICE, "")):
        return None
    return {WORKLOAD if key == SERVICE else key: value for key, value in tags.items()}


def rewrite_top(rewriting: Rewriting, path: Path) -> None:
    """Rewrite the targetRef of a policy, which now selects by labels of Dataplanes."""
    ref = rewriting.mapping(path)
    kind = ref.get("kind")
    if kind in ("MeshSubset", "MeshService", "MeshServiceSubset") and "labels" not in ref:
        name = {SERVICE: ref["name"]} if "name" in ref and kind != "MeshSubset" else {}
        labels = labels_of_tags({**name, **(ref.get("tags") or {})})
        if labels is None or (kind != "MeshSubset" and not name) or "namespace" in ref or "sectionName" in ref:
            return
        origin = (*path, "tags" if "tags" in ref else "name" if name else "kind")
        rewriting.take((*path, "name"))
        rewriting.take((*path, "tags"))
        rewriting.put((*path, "kind"), "Dataplane", origin=(*path, "kind"))
        if labels:
            rewriting.put((*path, "labels"), labels, origin=origin)
        rewriting.warn((*path, "kind"), f"kind {kind} is gone at the top since Kuma 3.0", _instead("Dataplane", labels))
    elif kind == "Dataplane" and "name" in ref:
        _by_display_name(rewriting, path)
    _own_mesh(rewriting, path)


def rewrite_destination(rewriting: Rewriting, path: Path) -> None:
    """Rewrite the targetRef of a `to` item, or a reference to a backend, that names one by name."""
    ref = rewriting.mapping(path)
    if ref.get("kind") in _BY_NAME and "name" in ref and "labels" not in ref:
        _by_display_name(rewriting, path)
    _own_mesh(rewriting, path)


def _by_display_name(rewriting: Rewriting, path: Path) -> None:
    ref = rewriting.mapping(path)
    name, namespace = ref.get("name"), ref.get("namespace")
    if not isinstance(name, str) or "tags" in ref:
        return
    labels = {DISPLAY_NAME: name}
    if isinstance(namespace, str):
        labels[NAMESPACE] = namespace
    parts = _KUBERNETES_NAME.match(name)
    if ref["kind"] == "MeshService" and parts:
        labels = {DISPLAY_NAME: parts[1], NAMESPACE: parts[2]}
    rewriting.take((*path, "name"))
    rewriting.take((*path, "namespace"))
    rewriting.put((*path, "labels"), labels, origin=(*path, "name"))
    section = ""
    if ref["kind"] == "MeshService" and parts and parts[3] and not ref.keys() & {"sectionName", "port"}:
        section = parts[3]
        rewriting.put((*path, "sectionName"), section, origin=(*path, "name"))
    rewriting.warn(
        (*path, "name"), "'name' in a reference is gone since Kuma 3.0", _instead(ref["kind"], labels, section)
    )


def _own_mesh(rewriting: Rewriting, path: Path) -> None:
    if rewriting.mapping(path).get("mesh") == rewriting.mesh:
        rewriting.take((*path, "mesh"))
        rewriting.warn((*path, "mesh"), "'mesh' in a reference is gone since Kuma 3.0", "rewritten: left out")


def _instead(kind: str, labels: Mapping[str, str], section: str = "") -> str:
    shown = f", labels: {{{', '.join(f'{key}: {value}' for key, value in labels.items())}}}" if labels else ""
    return f"rewritten: {{kind: {kind}{shown}{f', sectionName: {section}' if section else ''}}}"
