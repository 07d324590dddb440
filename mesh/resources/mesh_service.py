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


def _ports_distinct(spec: dict[str, Any]) -> Iterable[Problem]:
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


_PORT = Record(
    {
        "port": Field(PORT, required=True),
        "name": PORT_NAME,
        "targetPort": ByShape(number=PORT, text=PORT_NAME),
        "appProtocol": OneOf(tuple(protocol.value for protocol in Protocol)),
    },
    build=lambda entry: ServicePort(
        port=entry["port"],
        name=entry.get("name", ""),
        target=entry.get("targetPort", entry["port"]),
        protocol=Protocol(entry.get("appProtocol", "tcp")),
    ),
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
            "ports": Field(ListOf(_PORT, size_min=1), required=True),
            "identities": ListOf(_IDENTITY),
        },
        check=_ports_distinct,
        build=_build,
    ),
)
