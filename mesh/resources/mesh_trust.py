"""MeshTrust: the root certificates by which a trust domain's identities are recognised."""

from typing import Any

import attrs

from mesh.resources.resource import Kind
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, ListOf, Record


@attrs.frozen(kw_only=True)
class MeshTrust:
    """One trust domain's roots, PEM each. Several stand side by side while roots rotate."""

    trust_domain: str
    roots_pem: tuple[str, ...]


_PEM = Text(
    what="a certificate in PEM (-----BEGIN CERTIFICATE-----)",
    pattern=r"\s*-----BEGIN CERTIFICATE-----[\s\S]*-----END CERTIFICATE-----\s*",
    size_max=1_000_000,
)
_BUNDLE = Record(
    {
        "type": Field(OneOf(("Pem",)), required=True),
        "pem": Field(Record({"value": Field(_PEM, required=True)}), required=True),
    }
)


def _build(spec: dict[str, Any]) -> MeshTrust:
    roots = tuple(bundle["pem"]["value"] for bundle in spec["caBundles"])
    return MeshTrust(trust_domain=spec["trustDomain"], roots_pem=roots)


MESH_TRUST = Kind(
    name="MeshTrust",
    path="meshtrusts",
    short="mtrust",
    spec=Record(
        {
            "trustDomain": Field(
                Text(what="a trust domain such as default.east.mesh.local", pattern=r"[a-z0-9._-]+", size_max=255),
                required=True,
            ),
            "caBundles": Field(ListOf(_BUNDLE, size_min=1), required=True),
        },
        build=_build,
        retired={"origin": "leave it out; the server writes it to the status"},
    ),
)
