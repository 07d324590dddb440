"""MeshPassthrough: what applications may reach that is no service of the mesh."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from mesh.resources.dataplane import PORT
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import UNREDIRECTED, Field, ListOf, Problem, Record

_DOMAIN = re.compile(r"(\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)\Z", re.IGNORECASE)
_BY_HOST = ("http", "http2", "grpc")  # These requests name their host themselves.


def _value(match: dict[str, Any]) -> Iterable[Problem]:
    kind, value = match["type"], match["value"]
    try:
        if kind == "IP":
            ipaddress.ip_address(value)
        elif kind == "CIDR":
            ipaddress.ip_network(value, strict=False)
    except ValueError:
        yield Problem(
            ("value",), f"expects {'an IP address' if kind == 'IP' else 'a network such as 10.0.0.0/8'}, got '{value}'"
        )
    if kind == "CIDR" and "/" not in value:
        yield Problem(("value",), f"expects a network such as 10.0.0.0/8, got '{value}'")
    if kind == "Domain":
        yield from _domain(value, match["protocol"], match.get("port"))
    if match["protocol"] == "mysql" and "port" not in match:
        yield Problem((), "'port' is missing", "protocol: mysql needs it")


def _domain(value: str, protocol: str, port: int | None) -> Iterable[Problem]:
    if not _DOMAIN.match(value):
        yield Problem(("value",), f"expects a domain such as example.com or *.example.com, got '{value}'")
    if protocol in ("tcp", "mysql"):
        yield Problem(
            ("protocol",), f"protocol {protocol} does not name a domain", "write type: IP or CIDR, or protocol: tls"
        )
    wildcard = value.startswith("*")
    if port is None and (not wildcard or protocol in _BY_HOST):
        yield Problem((), "'port' is missing", "a domain needs it, except a wildcard with protocol: tls")


def _distinct(conf: dict[str, Any]) -> Iterable[Problem]:
    seen: dict[tuple[Any, ...], int] = {}
    for index, match in enumerate(conf.get("appendMatch", ())):
        key = (match["type"], match["value"], match.get("port"), match["protocol"])
        if key in seen:
            yield Problem(
                ("appendMatch", index), f"'{match['value']}' is there twice", f"first as appendMatch[{seen[key]}]"
            )
        seen.setdefault(key, index)


_MATCH = Record(
    {
        "type": Field(OneOf(("Domain", "IP", "CIDR")), required=True),
        "value": Field(Text(size_max=253), required=True),
        "port": PORT,
        "protocol": Field(OneOf(("tcp", "tls", "grpc", "http", "http2", "mysql")), default="tcp"),
    },
    check=_value,
)

MESH_PASSTHROUGH = policy_kind(
    "MeshPassthrough",
    path="meshpassthroughs",
    short="mp",
    whole=Record(
        {"passthroughMode": OneOf(("All", "Matched", "None")), "appendMatch": ListOf(_MATCH)}, check=_distinct
    ),
    dormant=UNREDIRECTED,
)
