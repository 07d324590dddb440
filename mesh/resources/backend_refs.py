"""References to where requests or records go: services and their ports by labels, and telemetry backends."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.dataplane import PORT
from mesh.resources.resource import LABELS
from mesh.resources.scalars import Integer, OneOf, Text
from mesh.resources.schema import Field, Problem, Record
from mesh.resources.target_ref import SERVICES

_RETIRED = {
    "name": "write labels: {kuma.io/display-name: NAME}",
    "namespace": "write labels: {k8s.kuma.io/namespace: NAMESPACE}",
    "tags": "write a MeshService of its own for those Dataplanes, and refer to it by labels",
    "mesh": "a route stays in its own mesh",
}
_GONE = {
    "MeshServiceSubset": "is gone: write a MeshService of its own for those Dataplanes",
    "MeshSubset": "is gone: write a MeshService of its own for those Dataplanes",
}


def _one_port(ref: dict[str, Any]) -> Iterable[Problem]:
    if not ref["labels"]:
        yield Problem(
            ("labels",), f"a {ref['kind']} is chosen by 'labels'", "write labels: {kuma.io/display-name: NAME}"
        )
    if "port" in ref and "sectionName" in ref:
        yield Problem(("sectionName",), "'port' and 'sectionName' exclude each other", "leave one of them out")
    if ref["kind"] == "MeshMultiZoneService" and not ("port" in ref or "sectionName" in ref):
        yield Problem((), "a MeshMultiZoneService needs 'port'")


_PLACE = {
    "kind": Field(OneOf(SERVICES, unsupported=_GONE), required=True),
    "labels": Field(LABELS, required=True),
    "sectionName": Field(Text(what="the name or number of a port, as text")),
    "port": Field(PORT),
}

# Gives a dict with what was written; `weight` is there always.
BACKEND_REF = Record(
    {**_PLACE, "weight": Field(Integer(min=0, max=1_000_000), default=1, filled=True)},
    check=_one_port,
    retired=_RETIRED,
    what="a reference to a service",
)


def _labelled(ref: dict[str, Any]) -> Iterable[Problem]:
    if not ref["labels"]:
        yield Problem(("labels",), "a backend is chosen by 'labels'", "write labels: {kuma.io/display-name: NAME}")


TELEMETRY_BACKEND_REF = Record(
    {"kind": Field(OneOf(("MeshOpenTelemetryBackend",)), required=True), "labels": Field(LABELS, required=True)},
    check=_labelled,
    retired={"name": _RETIRED["name"]},
    what="a reference to a MeshOpenTelemetryBackend",
)
