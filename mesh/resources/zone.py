"""Zone: one zone of the installation; MeshZoneAddress: where a zone's ingress is reached from the others."""

import attrs

from mesh.resources.dataplane import HOST, PORT
from mesh.resources.resource import DNS_LABEL, Kind
from mesh.resources.scalars import Boolean
from mesh.resources.schema import LATER, Field, Record


@attrs.frozen(kw_only=True)
class Zone:
    """A zone; one that is not enabled takes no part."""

    enabled: bool = True


@attrs.frozen(kw_only=True)
class MeshZoneAddress:
    """The public address of a zone's ingress, for one mesh."""

    address: str
    port: int


ZONE = Kind(
    name="Zone",
    path="zones",
    short="z",
    mesh_scoped=False,
    inline=True,
    name_schema=DNS_LABEL,
    spec=Record({"enabled": Boolean()}, build=lambda record: Zone(enabled=record.get("enabled", True))),
)

MESH_ZONE_ADDRESS = Kind(
    name="MeshZoneAddress",
    path="meshzoneaddresses",
    short="mza",
    dormant=LATER,
    spec=Record(
        {"address": Field(HOST, required=True), "port": Field(PORT, required=True)},
        build=lambda spec: MeshZoneAddress(address=spec["address"], port=spec["port"]),
    ),
)
