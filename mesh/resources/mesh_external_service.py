"""MeshExternalService: a destination outside of the mesh, with TLS begun by the proxy where it asks for that."""

from collections.abc import Iterable
from typing import Any

import attrs

from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.policy.authorization import MatchKind
from mesh.resources.data_source import DATA_SOURCE, DataSource
from mesh.resources.dataplane import HOST, PORT
from mesh.resources.resource import DNS_LABEL, Kind
from mesh.resources.scalars import Anything, Boolean, Integer, OneOf, Text
from mesh.resources.schema import Field, ListOf, MapOf, Problem, Record

TLS_VERSIONS = ("TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13")


@attrs.frozen(kw_only=True)
class ExternalEndpoint:
    """One address of it. Of lower `priority` are used first."""

    address: Address
    priority: int = 0


@attrs.frozen(kw_only=True)
class NameMatch:
    """One subject alternative name that a server may show."""

    kind: MatchKind = MatchKind.EXACT
    value: str


@attrs.frozen(kw_only=True)
class ExternalTls:
    """How to begin TLS with it. `mode`: Secured, SkipSAN, SkipCA or SkipAll; without `ca_cert` the system's roots count."""

    version_min: str = "TLSAuto"
    version_max: str = "TLSAuto"
    allow_renegotiation: bool = False
    mode: str = "Secured"
    server_name: str = ""
    subject_alt_names: tuple[NameMatch, ...] = ()
    ca_cert: DataSource | None = None
    client_cert: DataSource | None = None
    client_key: DataSource | None = None


@attrs.frozen(kw_only=True)
class MeshExternalService:
    """The spec. `tls` None: what the application sends goes out as it is. An `extension` names who finds the endpoints."""

    port: int
    protocol: Protocol = Protocol.TCP
    endpoints: tuple[ExternalEndpoint, ...] = ()
    tls: ExternalTls | None = None
    extension: str = ""


def _version_order(version: dict[str, Any]) -> Iterable[Problem]:
    low, high = version.get("min", "TLSAuto"), version.get("max", "TLSAuto")
    if "TLSAuto" not in (low, high) and TLS_VERSIONS.index(low) > TLS_VERSIONS.index(high):
        yield Problem(("min",), f"'min' {low} is above 'max' {high}")


def _key_pair(verification: dict[str, Any]) -> Iterable[Problem]:
    for key, other in (("clientCert", "clientKey"), ("clientKey", "clientCert")):
        if key in verification and other not in verification:
            yield Problem((key,), f"'{key}' needs '{other}' too")


def _tls(tls: dict[str, Any]) -> ExternalTls | None:
    if not tls.get("enabled", False):
        return None
    version, verification = tls.get("version", {}), tls.get("verification", {})
    return ExternalTls(
        version_min=version.get("min", "TLSAuto"),
        version_max=version.get("max", "TLSAuto"),
        allow_renegotiation=tls.get("allowRenegotiation", False),
        mode=verification.get("mode", "Secured"),
        server_name=verification.get("serverName", ""),
        subject_alt_names=verification.get("subjectAltNames", ()),
        ca_cert=verification.get("caCert"),
        client_cert=verification.get("clientCert"),
        client_key=verification.get("clientKey"),
    )


def _build(spec: dict[str, Any]) -> MeshExternalService:
    match = spec["match"]
    return MeshExternalService(
        port=match["port"],
        protocol=Protocol(match.get("protocol", "tcp")),
        endpoints=spec.get("endpoints", ()),
        tls=spec.get("tls"),
        extension=spec.get("extension", {}).get("type", ""),
    )


_MATCH = Record(
    {
        "type": OneOf(("HostnameGenerator",)),
        "port": Field(PORT, required=True),
        "protocol": OneOf(("tcp", "grpc", "http", "http2")),
    }
)
_ENDPOINT = Record(
    {
        "address": Field(HOST, required=True),
        "port": Field(PORT, required=True),
        "priority": Integer(min=0, max=128),
    },
    build=lambda entry: ExternalEndpoint(
        address=Address(entry["address"], entry["port"]), priority=entry.get("priority", 0)
    ),
)
_NAME_MATCH = Record(
    {"type": OneOf(tuple(kind.value for kind in MatchKind)), "value": Field(Text(), required=True)},
    build=lambda entry: NameMatch(kind=MatchKind(entry.get("type", "Exact")), value=entry["value"]),
)
_VERIFICATION = Record(
    {
        "mode": OneOf(("Secured", "SkipSAN", "SkipCA", "SkipAll")),
        "serverName": Text(what="a server's name", size_max=253),
        "subjectAltNames": ListOf(_NAME_MATCH),
        "caCert": DATA_SOURCE,
        "clientCert": DATA_SOURCE,
        "clientKey": DATA_SOURCE,
    },
    check=_key_pair,
)
_TLS = Record(
    {
        "enabled": Boolean(),
        "version": Record({"min": OneOf(TLS_VERSIONS), "max": OneOf(TLS_VERSIONS)}, check=_version_order),
        "allowRenegotiation": Boolean(),
        "verification": _VERIFICATION,
    },
    build=_tls,
)
EXTENSION = Record({"type": Field(Text(), required=True), "config": MapOf(Anything())})

MESH_EXTERNAL_SERVICE = Kind(
    name="MeshExternalService",
    path="meshexternalservices",
    short="extsvc",
    name_schema=DNS_LABEL,
    spec=Record(
        {
            "match": Field(_MATCH, required=True),
            "endpoints": ListOf(_ENDPOINT),
            "tls": _TLS,
            "extension": Field(EXTENSION, dormant="this control plane has no extensions"),
        },
        build=_build,
    ),
)
