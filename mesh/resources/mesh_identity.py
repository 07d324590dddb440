"""MeshIdentity: which proxies hold an identity, how their SPIFFE ID is made, and who issues the certificate."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mesh.model.errors import ConfigError
from mesh.model.names import SpiffeId
from mesh.resources.resource import LABELS, Kind
from mesh.resources.scalars import Boolean, Duration, OneOf, Scalar
from mesh.resources.schema import Field, Record

DEFAULT_TRUST_DOMAIN = "{{ .Mesh }}.{{ .Zone }}.mesh.local"
DEFAULT_PATH = "/workload/{{ .Workload }}"

_EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_LABEL = re.compile(r'label "([^"]+)"\Z')


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


def render(template: str, subject: Subject) -> str:
    """Fill a template such as `/workload/{{ .Workload }}`. Raises: ValueError naming what the proxy lacks."""

    def value(match: re.Match[str]) -> str:
        label = _LABEL.match(match[1])
        text = subject.labels.get(label[1], "") if label else _VARIABLES[match[1]](subject)
        if not text:
            missing = label[1] if label else "kuma.io/workload" if match[1] == ".Workload" else match[1]
            raise ValueError(f"it has no label {missing}, which {template!r} needs")
        return text

    return _EXPRESSION.sub(value, template)


_VARIABLES: Mapping[str, Callable[[Subject], str]] = {
    ".Mesh": lambda subject: subject.mesh,
    ".Zone": lambda subject: subject.zone,
    ".Workload": lambda subject: subject.workload,
}


def _template(text: str | int | float) -> str:
    if not isinstance(text, str) or not text:
        raise ValueError
    for expression in _EXPRESSION.findall(text):
        if expression not in _VARIABLES and not _LABEL.match(expression):
            allowed = ", ".join([*_VARIABLES, 'label "KEY"'])
            raise ValueError(f"unknown {{{{ {expression} }}}} in a template; allowed: {allowed}")
    if "{{" in _EXPRESSION.sub("", text):
        raise ValueError(f"a template's {{{{ is not closed in {text!r}")
    return text


def _spiffe_id(text: str | int | float) -> str:
    try:
        return str(SpiffeId.parse(str(text)))
    except ConfigError as error:
        raise ValueError(error.violations[0].message) from error


_TEMPLATE = Scalar(f"text, possibly with templates such as {DEFAULT_TRUST_DOMAIN}", _template, json={"type": "string"})
SPIFFE_ID = Scalar("a SPIFFE ID such as spiffe://trust-domain/path", _spiffe_id, json={"type": "string"})


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


_BUNDLED = Record(
    {
        "meshTrustCreation": OneOf(("Enabled", "Disabled")),
        "insecureAllowSelfSigned": Boolean(),
        "autogenerate": Record({"enabled": Field(Boolean(), required=True)}),
        # A certificate that lives shorter than a minute could not be renewed in time.
        "certificateParameters": Record({"expiry": Duration(min_s=60.0)}),
    },
    not_yet=("ca",),
)
_PROVIDER = Record(
    {
        "type": Field(
            OneOf(("Bundled",), unsupported=dict.fromkeys(("Spire", "Extension"), "is not supported yet")),
            required=True,
        ),
        "bundled": _BUNDLED,
    },
    not_yet=("spire", "extension"),
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
