"""MeshIdentity: which proxies hold an identity, how their SPIFFE ID is made, and who issues the certificate.

All that Kuma has is read. What our control plane cannot issue by (an authority of the operator's own, Spire, an
extension) is refused, since a proxy without its identity would speak plaintext.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.model.errors import ConfigError
from mesh.model.names import SpiffeId
from mesh.resources.data_source import DATA_SOURCE
from mesh.resources.resource import LABELS, WORKLOAD, Kind
from mesh.resources.scalars import Anything, Boolean, Duration, OneOf, Scalar, Text
from mesh.resources.schema import Field, MapOf, Problem, Record
from mesh.resources.templates import fill, template
from mesh.resources.variants import Variant, by_type

DEFAULT_TRUST_DOMAIN = "{{ .Mesh }}.{{ .Zone }}.mesh.local"
DEFAULT_PATH = "/workload/{{ .Workload }}"


@attrs.frozen(kw_only=True)
class MeshIdentity:
    """The spec. `match_labels` None selects no proxy, empty selects all."""

    match_labels: Mapping[str, str] | None = None
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    path: str = DEFAULT_PATH
    certificate_lifetime_s: float = 86400.0
    creates_trust: bool = True


@attrs.frozen(kw_only=True)
class Subject:
    """What a template may name about a proxy."""

    mesh: str
    zone: str
    workload: str
    labels: Mapping[str, str]


def render(text: str, subject: Subject) -> str:
    """Fill a template such as `/workload/{{ .Workload }}`. Raises: ValueError naming what the proxy lacks."""
    values = {".Mesh": subject.mesh, ".Zone": subject.zone, ".Workload": subject.workload}
    return fill(text, values, subject.labels, label_of={".Workload": WORKLOAD})


def _spiffe_id(text: str | int | float) -> str:
    try:
        return str(SpiffeId.parse(str(text)))
    except ConfigError as error:
        raise ValueError(error.violations[0].message) from error


_TEMPLATE = template((".Mesh", ".Zone", ".Workload"), example=DEFAULT_TRUST_DOMAIN)
SPIFFE_ID = Scalar("a SPIFFE ID such as spiffe://trust-domain/path", _spiffe_id, json={"type": "string"})


def _one_authority(bundled: dict[str, Any]) -> Iterable[Problem]:
    if "ca" in bundled and bundled.get("autogenerate", {}).get("enabled"):
        yield Problem(("ca",), "'ca' and 'autogenerate' exclude each other", "leave one of them out")


def _issuable(provider: dict[str, Any]) -> Iterable[Problem]:
    hint = "write type: Bundled with autogenerate: {enabled: true}"
    if provider["type"] != "Bundled":
        yield Problem(("type",), f"this control plane cannot issue identities by '{provider['type']}'", hint)
    elif "ca" in provider.get("bundled", {}):
        yield Problem(("bundled", "ca"), "this control plane issues by an authority that it makes itself", hint)


def _build(spec: dict[str, Any]) -> MeshIdentity:
    selected = spec.get("selector", {}).get("dataplane")
    naming = spec.get("spiffeID", {})
    bundled = spec["provider"].get("bundled", {})
    return MeshIdentity(
        match_labels=None if selected is None else selected.get("matchLabels", {}),
        trust_domain=naming.get("trustDomain", DEFAULT_TRUST_DOMAIN),
        path=naming.get("path", DEFAULT_PATH),
        certificate_lifetime_s=bundled.get("certificateParameters", {}).get("expiry", 86400.0),
        creates_trust=bundled.get("meshTrustCreation", "Enabled") == "Enabled",
    )


_CA = Record({"certificate": Field(DATA_SOURCE, required=True), "privateKey": Field(DATA_SOURCE, required=True)})
_BUNDLED = Record(
    {
        "meshTrustCreation": OneOf(("Enabled", "Disabled")),
        "insecureAllowSelfSigned": Boolean(),
        "autogenerate": Record({"enabled": Field(Boolean(), required=True)}),
        # A certificate that lives shorter than a minute could not be renewed in time.
        "certificateParameters": Record({"expiry": Duration(min_s=60.0)}),
        "ca": _CA,
    },
    check=_one_authority,
)
_PROVIDER = by_type(
    {
        "Bundled": Variant("bundled", _BUNDLED, optional=True),
        "Spire": Variant("spire", Record({"agent": Record({"timeout": Duration(positive=True)})}), optional=True),
        "Extension": Variant("extension", Record({"name": Field(Text(), required=True), "config": MapOf(Anything())})),
    },
    check=_issuable,
)

MESH_IDENTITY = Kind(
    name="MeshIdentity",
    path="meshidentities",
    short="mid",
    spec=Record(
        {
            "selector": Record({"dataplane": Record({"matchLabels": LABELS})}),
            "spiffeID": Record({"trustDomain": _TEMPLATE, "path": _TEMPLATE}),
            "provider": Field(_PROVIDER, required=True),
        },
        build=_build,
    ),
)
