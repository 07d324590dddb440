"""MeshTrace: where spans of requests are sent, how many, and what is noted with them."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.backend_refs import TELEMETRY_BACKEND_REF
from mesh.resources.headers import HEADER_NAME
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Boolean, Number, OneOf, Text
from mesh.resources.schema import LATER, Field, ListOf, Problem, Record
from mesh.resources.variants import Variant, by_type

_SHARE = Number(min=0, max=100, text=True)
_URL = Text(what="a URL such as http://host:9411/api/v2/spans", pattern=r"https?://[^\s/]+(/\S*)?")
_ZIPKIN = Record(
    {
        "url": Field(_URL, required=True),
        "traceId128bit": Boolean(),
        "apiVersion": OneOf(("httpJson", "httpJsonV1", "httpProto")),
        "sharedSpanContext": Boolean(),
    }
)
_DATADOG = Record(
    {
        "url": Field(Text(what="a URL such as http://host:8126", pattern=r"http://[^\s/]+:[0-9]{1,5}"), required=True),
        "splitService": Boolean(),
    }
)
_OPEN_TELEMETRY = Record(
    {"backendRef": Field(TELEMETRY_BACKEND_REF, required=True)},
    retired={
        "endpoint": "write a MeshOpenTelemetryBackend, and backendRef: {kind: MeshOpenTelemetryBackend, labels: {...}}"
    },
)
_BACKEND = by_type(
    {
        "Zipkin": Variant("zipkin", _ZIPKIN),
        "Datadog": Variant("datadog", _DATADOG),
        "OpenTelemetry": Variant("openTelemetry", _OPEN_TELEMETRY),
    }
)


def _one_value(tag: dict[str, Any]) -> Iterable[Problem]:
    if ("literal" in tag) == ("header" in tag):
        yield Problem((), "needs either 'literal' or 'header'")


_TAG = Record(
    {
        "name": Field(Text(), required=True),
        "literal": Text(empty=True),
        "header": Record({"name": Field(HEADER_NAME, required=True), "default": Text(empty=True)}),
    },
    check=_one_value,
)

MESH_TRACE = policy_kind(
    "MeshTrace",
    path="meshtraces",
    short="mtr",
    whole=Record(
        {
            "backends": ListOf(_BACKEND, size_max=1),
            "sampling": Record({"overall": _SHARE, "client": _SHARE, "random": _SHARE}),
            "tags": ListOf(_TAG),
        }
    ),
    dormant=LATER,
)
