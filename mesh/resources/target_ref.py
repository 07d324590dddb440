"""References: to proxies, to destinations and to one port of them, by labels.

Source: Kuma `pkg/core/resources/apis/mesh/validators.go`, 3.0: `kind`, `labels` and `sectionName`, and nothing else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.resources.resource import LABELS
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, Problem, Record

SERVICES = ("MeshService", "MeshExternalService", "MeshMultiZoneService")
ANY_DESTINATION = ("Mesh", *SERVICES, "MeshHTTPRoute")

_WITH_SECTIONS = ("Dataplane", "MeshService", "MeshMultiZoneService")
_RETIRED = {
    "name": "write labels: {kuma.io/display-name: NAME}",
    "namespace": "write labels: {k8s.kuma.io/namespace: NAMESPACE}",
    "tags": "select by labels",
    "mesh": "a policy is about its own mesh",
    "proxyTypes": "select by labels",
}
_GONE = dict.fromkeys(("MeshSubset", "MeshServiceSubset", "MeshGateway"), "is gone: write kind: Dataplane with labels")
_GONE_AT_TOP = dict.fromkeys(
    (*SERVICES, "MeshHTTPRoute"), "is gone at the top: select the proxies with kind: Dataplane and labels"
)
_NOT_FOR_THIS = "is nothing that this policy can be about"


@attrs.frozen(kw_only=True)
class TargetRef:
    """What a policy or one of its items is about. `section`: the name or number of a port or inbound."""

    kind: str = "Mesh"
    labels: Mapping[str, str] = attrs.field(factory=dict)
    section: str = ""


def target_ref(kinds: tuple[str, ...], *, section: bool, top: bool = False) -> Record:
    """Return the schema of a reference to one of `kinds`; `section`: whether one port or inbound can be meant."""

    def rules(ref: dict[str, Any]) -> Iterable[Problem]:
        kind, labels = ref["kind"], ref.get("labels")
        if kind == "Mesh" and labels:
            hint = "leave them out, or choose another kind"
            yield Problem(("labels",), "'labels' cannot stand with kind: Mesh", hint)
        if ref.get("sectionName") and not (section and kind in _WITH_SECTIONS):
            hint = "it names one port of a service or inbound"
            yield Problem(("sectionName",), "'sectionName' cannot stand here", hint)
        if kind not in ("Mesh", "Dataplane") and not labels:
            yield Problem((), f"a {kind} is chosen by 'labels'", "write labels: {kuma.io/display-name: NAME}")

    others = _GONE_AT_TOP if top else dict.fromkeys(ANY_DESTINATION, _NOT_FOR_THIS)
    refused = {kind: why for kind, why in {**_GONE, **others}.items() if kind not in kinds}
    return Record(
        {
            "kind": Field(OneOf(kinds, unsupported=refused), required=True),
            "labels": LABELS,
            "sectionName": Text(what="the name or number of a port, as text"),
        },
        check=rules,
        build=lambda ref: TargetRef(kind=ref["kind"], labels=ref.get("labels", {}), section=ref.get("sectionName", "")),
        retired=_RETIRED,
        what="a targetRef",
    )
