"""Kubernetes' form of a resource, turned into the universal one: names, labels and the spec stand elsewhere in it."""

from collections.abc import Mapping
from typing import Any

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path
from mesh.resources.resource import MESH, NAMESPACE, Kind

API_VERSION = "kuma.io/v1alpha1"
_TOP = ("apiVersion", "kind", "metadata", "spec", "status", "mesh", "type", "data")
# Kuma keeps its Secrets in Kubernetes' own.
SECRET_TYPE_BY_KIND = {"Secret": "system.kuma.io/secret", "GlobalSecret": "system.kuma.io/global-secret"}
_SECRET_KIND_BY_TYPE = {name: kind for kind, name in SECRET_TYPE_BY_KIND.items()}


def is_kubernetes(data: Mapping[str, Any]) -> bool:
    """Is the document in Kubernetes' form?"""
    return "apiVersion" in data


def universal_form(document: Document, kinds: Mapping[str, Kind]) -> tuple[Document, list[Violation]]:
    """Turn a document into the universal form, with the places that things had; say what fits into neither."""
    assert isinstance(document.data, dict)
    conversion = _Conversion(document, document.data)
    return conversion.run(kinds), conversion.violations


class _Conversion:
    """One document being turned."""

    def __init__(self, document: Document, data: dict[str, Any]) -> None:
        self.document = document
        self.written = data
        self.violations: list[Violation] = []
        self.data: dict[str, Any] = {}
        self.origins: dict[Path, Path] = {}

    def run(self, kinds: Mapping[str, Kind]) -> Document:
        secret = self._secret_kind()
        kind = kinds.get(secret or str(self.written.get("kind")))
        if secret is None and self.written.get("apiVersion") != API_VERSION:
            self._refuse(
                ("apiVersion",), f"unknown apiVersion '{self.written.get('apiVersion')}'", f"write {API_VERSION}"
            )
        for key in self.written:
            if key not in _TOP:
                self._refuse((key,), f"unknown key '{key}'", f"allowed: {', '.join(_TOP[:5])}")
        self._put("type", secret or self.written.get("kind"), ("kind",))
        self._metadata(mesh_scoped=kind is None or kind.mesh_scoped)
        if secret is not None:
            data = self.written.get("data")
            self._put("data", data.get("value") if isinstance(data, dict) else None, ("data", "value"))
        else:
            self._spec(inline=kind is not None and kind.inline)
        return attrs.evolve(self.document, data=self.data, origins=self.origins)

    def _metadata(self, *, mesh_scoped: bool) -> None:
        metadata = self.written.get("metadata")
        if not isinstance(metadata, dict):
            self._refuse(("metadata",), "'metadata' is missing", "it holds the name")
            return
        labels, annotations = metadata.get("labels"), metadata.get("annotations")
        labels = dict(labels) if isinstance(labels, dict) else {}
        if mesh_scoped:
            self._mesh(labels, annotations if isinstance(annotations, dict) else {})
        if "name" in metadata:
            self._put("name", metadata["name"], ("metadata", "name"))
        if isinstance(metadata.get("namespace"), str):
            labels[NAMESPACE] = metadata["namespace"]
            self.origins["labels", NAMESPACE] = ("metadata", "namespace")
        if labels or "labels" in metadata:
            whole = labels if labels or isinstance(metadata["labels"], dict) else metadata["labels"]
            self._put("labels", whole, ("metadata", "labels"))
        if "creationTimestamp" in metadata:
            self._put("creationTime", metadata["creationTimestamp"], ("metadata", "creationTimestamp"))

    def _mesh(self, labels: dict[str, Any], annotations: dict[str, Any]) -> None:
        if MESH in labels:
            self._put("mesh", labels.pop(MESH), ("metadata", "labels", MESH))
        elif MESH in annotations:
            self._put("mesh", annotations[MESH], ("metadata", "annotations", MESH))
        elif "mesh" in self.written:
            self._put("mesh", self.written["mesh"], ("mesh",))

    def _spec(self, *, inline: bool) -> None:
        spec = self.written.get("spec")
        if inline and isinstance(spec, dict):
            for key, value in spec.items():
                self._put(key, value, ("spec", key))
        elif inline and spec is not None:
            self._refuse(("spec",), "'spec' is not a mapping", "it holds the resource's own fields")
        elif "spec" in self.written:
            self.data["spec"] = spec
        if "status" in self.written:
            self.data["status"] = self.written["status"]

    def _secret_kind(self) -> str | None:
        if self.written.get("kind") != "Secret" or self.written.get("apiVersion") == API_VERSION:
            return None
        kind = _SECRET_KIND_BY_TYPE.get(str(self.written.get("type")))
        if kind is None:
            self._refuse(("type",), "not a Secret of Kuma's", f"type is one of {', '.join(_SECRET_KIND_BY_TYPE)}")
        return kind or "Secret"

    def _put(self, key: str, value: Any, origin: Path) -> None:
        self.data[key] = value
        self.origins[key,] = origin

    def _refuse(self, path: Path, message: str, hint: str) -> None:
        self.violations.append(self.document.violation(path, message, hint))
