"""MeshMetric: which metrics of sidecars and applications are offered or sent, and where."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.backend_refs import TELEMETRY_BACKEND_REF
from mesh.resources.dataplane import HOST, PORT
from mesh.resources.headers import valid_expression
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Boolean, Duration, OneOf, Text
from mesh.resources.schema import LATER, Field, ListOf, Problem, Record
from mesh.resources.variants import Variant, by_type

_PATH = Text(what="an absolute path", pattern=r"/\S*")


def _expression(selector: dict[str, Any]) -> Iterable[Problem]:
    if selector["type"] == "Regex":
        for problem in valid_expression(selector["match"]):
            yield Problem(("match",), problem.message)


_SELECTOR = Record(
    {
        "type": Field(OneOf(("Prefix", "Regex", "Exact", "Contains")), required=True),
        "match": Field(Text(), required=True),
    },
    check=_expression,
)
_PROFILES = Record(
    {
        "appendProfiles": ListOf(Record({"name": Field(OneOf(("All", "Basic", "None")), required=True)})),
        "exclude": ListOf(_SELECTOR),
        "include": ListOf(_SELECTOR),
    }
)
_SIDECAR = Record(
    {"includeUnused": Boolean(), "profiles": _PROFILES},
    retired={
        "regex": "write profiles: {include: [{type: Regex, match: EXPRESSION}]}",
        "usedOnly": "write includeUnused, which is its opposite",
    },
)
_APPLICATION = Record({"name": Text(), "path": _PATH, "address": HOST, "port": Field(PORT, required=True)})
_PROMETHEUS = Record(
    {
        "clientId": Text(),
        "port": PORT,
        "path": _PATH,
        "tls": Record({"mode": OneOf(("Disabled", "ProvidedTLS", "ActiveMTLSBackend"))}),
    }
)
_OPEN_TELEMETRY = Record(
    {"backendRef": Field(TELEMETRY_BACKEND_REF, required=True), "refreshInterval": Duration(positive=True)},
    retired={
        "endpoint": "write a MeshOpenTelemetryBackend, and backendRef: {kind: MeshOpenTelemetryBackend, labels: {...}}"
    },
)
_BACKEND = by_type(
    {"Prometheus": Variant("prometheus", _PROMETHEUS), "OpenTelemetry": Variant("openTelemetry", _OPEN_TELEMETRY)}
)

MESH_METRIC = policy_kind(
    "MeshMetric",
    path="meshmetrics",
    short="mm",
    whole=Record({"sidecar": _SIDECAR, "applications": ListOf(_APPLICATION), "backends": ListOf(_BACKEND)}),
    dormant=LATER,
)
