"""MeshService: a named service, its ports and the Dataplanes behind it.

Services that nobody wrote are made from the Dataplanes' `kuma.io/workload` label by `mesh.config.services`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.model.traffic import Protocol
from mesh.resources.dataplane import PORT, PORT_NAME
from mesh.resources.mesh_identity import SPIFFE_ID
from mesh.resources.resource import DNS_LABEL, LABELS, NAME, Kind
from mesh.resources.scalars import OneOf
from mesh.resources.schema import ByShape, Field, ListOf, Problem, Record


@attrs.frozen(kw_only=True)
class ServicePort:
    """One port of a service. `target`: the number or the name of the inbounds behind it."""

    port: int
    name: str = ""
    target: int | str
    protocol: Protocol = Protocol.TCP


@attrs.frozen(kw_only=True)
class MeshService:
    """A service. It selects Dataplanes by labels or one by name; neither selects none."""

    match_labels: Mapping[str, str] | None = None
    dataplane: str = ""
    ports: tuple[ServicePort, ...] = ()
    spiffe_ids: tuple[str, ...] = ()


def ports_distinct(spec: dict[str, Any]) -> Iterable[Problem]:
    """Find ports with the same number or name."""
    seen: dict[int | str, int] = {}
    for index, port in enumerate(spec.get("ports", ())):
        for key in (port.port, port.name):
            if key and key in seen:
                yield Problem(("ports", index), f"port '{key}' is there twice", f"first as ports[{seen[key]}]")
            seen.setdefault(key, index)


def _one_selector(selector: dict[str, Any]) -> Iterable[Problem]:
    if "dataplaneLabels" in selector and "dataplaneRef" in selector:
        yield Problem((), "'dataplaneLabels' and 'dataplaneRef' exclude each other")


def _build(spec: dict[str, Any]) -> MeshService:
    selector = spec.get("selector", {})
    return MeshService(
        match_labels=selector["dataplaneLabels"].get("matchLabels", {}) if "dataplaneLabels" in selector else None,
        dataplane=selector.get("dataplaneRef", {}).get("name", ""),
        ports=spec.get("ports", ()),
        spiffe_ids=tuple(identity["value"] for identity in spec.get("identities", ())),
    )


_PORT_FIELDS = {
    "port": Field(PORT, required=True),
    "name": Field(PORT_NAME),
    "appProtocol": Field(OneOf(tuple(protocol.value for protocol in Protocol))),
}


def _port(entry: dict[str, Any]) -> ServicePort:
    return ServicePort(
        port=entry["port"],
        name=entry.get("name", ""),
        target=entry.get("targetPort", entry["port"]),
        protocol=Protocol(entry.get("appProtocol", "tcp")),
    )


# Of a service that is made of others, whose ports lead to nothing of its own.
PORTS = ListOf(Record(_PORT_FIELDS, build=_port), size_min=1)
_OWN_PORTS = ListOf(
    Record({**_PORT_FIELDS, "targetPort": ByShape(number=PORT, text=PORT_NAME)}, build=_port), size_min=1
)
_IDENTITY = Record(
    {
        "type": Field(
            OneOf(("SpiffeID",), unsupported={"ServiceTag": "is gone: identities are SPIFFE IDs"}), required=True
        ),
        "value": Field(SPIFFE_ID, required=True),
    }
)
_SELECTOR = Record(
    {
        "dataplaneLabels": Record({"matchLabels": LABELS}),
        "dataplaneRef": Record({"name": Field(NAME, required=True)}),
    },
    check=_one_selector,
    retired={"dataplaneTags": "write dataplaneLabels: {matchLabels: {...}}"},
)

MESH_SERVICE = Kind(
    name="MeshService",
    path="meshservices",
    short="msvc",
    name_schema=DNS_LABEL,
    spec=Record(
        {
            "state": OneOf(("Available", "Unavailable")),
            "selector": _SELECTOR,
            "ports": Field(_OWN_PORTS, required=True),
            "identities": ListOf(_IDENTITY),
        },
        check=ports_distinct,
        build=_build,
    ),
)
