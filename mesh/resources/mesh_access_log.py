"""MeshAccessLog: what is written about each request, and where."""

from mesh.resources.backend_refs import TELEMETRY_BACKEND_REF
from mesh.resources.policy import peers, policy_kind
from mesh.resources.scalars import Anything, Boolean, Text
from mesh.resources.schema import LATER, Field, ListOf, Record
from mesh.resources.variants import Variant, by_type

_ENTRY = Record({"key": Field(Text(), required=True), "value": Field(Text(), required=True)})
_FORMAT = by_type(
    {"Plain": Variant("plain", Text(what="a line's format")), "Json": Variant("json", ListOf(_ENTRY, size_min=1))},
    also={"omitEmptyValues": Boolean()},
)
_ADDRESS = Text(what="a host and a port such as 127.0.0.1:5000", pattern=r"\S+:[0-9]{1,5}")
_OPEN_TELEMETRY = Record(
    {"attributes": ListOf(_ENTRY), "body": Anything(), "backendRef": Field(TELEMETRY_BACKEND_REF, required=True)},
    retired={
        "endpoint": "write a MeshOpenTelemetryBackend, and backendRef: {kind: MeshOpenTelemetryBackend, labels: {...}}"
    },
)
_BACKEND = by_type(
    {
        "File": Variant("file", Record({"path": Field(Text(what="a file's path"), required=True), "format": _FORMAT})),
        "Tcp": Variant("tcp", Record({"address": Field(_ADDRESS, required=True), "format": _FORMAT})),
        "OpenTelemetry": Variant("openTelemetry", _OPEN_TELEMETRY),
    }
)
_CONF = Record({"backends": Field(ListOf(_BACKEND), required=True)})

MESH_ACCESS_LOG = policy_kind(
    "MeshAccessLog",
    path="meshaccesslogs",
    short="mal",
    to=_CONF,
    rules=_CONF,
    matches=peers(),
    dormant=LATER,
)
