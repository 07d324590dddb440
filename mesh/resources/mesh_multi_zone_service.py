"""MeshMultiZoneService: one service made of the MeshServices of all zones that carry some labels."""

from collections.abc import Mapping
from typing import Any

import attrs

from mesh.resources.mesh_service import PORTS, ServicePort, ports_distinct
from mesh.resources.resource import DNS_LABEL, LABELS, Kind
from mesh.resources.schema import Field, Record


@attrs.frozen(kw_only=True)
class MeshMultiZoneService:
    """The spec: which MeshServices, and which of their ports."""

    match_labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]


def _build(spec: dict[str, Any]) -> MeshMultiZoneService:
    return MeshMultiZoneService(match_labels=spec["selector"]["meshService"]["matchLabels"], ports=spec["ports"])


_MATCH = Record({"matchLabels": Field(LABELS, required=True)})

MESH_MULTI_ZONE_SERVICE = Kind(
    name="MeshMultiZoneService",
    path="meshmultizoneservices",
    short="mzsvc",
    name_schema=DNS_LABEL,
    spec=Record(
        {
            "selector": Field(Record({"meshService": Field(_MATCH, required=True)}), required=True),
            "ports": Field(PORTS, required=True),
        },
        check=ports_distinct,
        build=_build,
    ),
)
