"""HostnameGenerator: the names by which services of one kind can be called, made from a template."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.resources.mesh_external_service import EXTENSION
from mesh.resources.resource import LABELS, NAMESPACE, ZONE, Kind, Resource
from mesh.resources.schema import Field, Problem, Record
from mesh.resources.templates import fill, template

_KIND_BY_SELECTOR = {
    "meshService": "MeshService",
    "meshExternalService": "MeshExternalService",
    "meshMultiZoneService": "MeshMultiZoneService",
}


@attrs.frozen(kw_only=True)
class HostnameGenerator:
    """The spec. It names the services of `selector_kind` that carry `match_labels`; none at all: every one."""

    template: str
    selector_kind: str
    match_labels: Mapping[str, str]


def hostname(generator: HostnameGenerator, service: Resource) -> str:
    """Return the name that a service gets. Raises: ValueError naming what the service lacks."""
    values = {
        ".DisplayName": service.display_name,
        ".Zone": service.labels.get(ZONE, ""),
        ".Namespace": service.labels.get(NAMESPACE, ""),
    }
    return fill(generator.template, values, service.labels, label_of={".Zone": ZONE, ".Namespace": NAMESPACE})


def _one(selector: dict[str, Any]) -> Iterable[Problem]:
    if len(selector) != 1:
        yield Problem((), f"needs exactly one of {', '.join(_KIND_BY_SELECTOR)}")


def _build(spec: dict[str, Any]) -> HostnameGenerator:
    ((selector, match),) = spec["selector"].items()
    return HostnameGenerator(
        template=spec["template"], selector_kind=_KIND_BY_SELECTOR[selector], match_labels=match.get("matchLabels", {})
    )


_MATCH = Record({"matchLabels": LABELS})

HOSTNAME_GENERATOR = Kind(
    name="HostnameGenerator",
    path="hostnamegenerators",
    short="hg",
    mesh_scoped=False,
    spec=Record(
        {
            "template": Field(
                template((".DisplayName", ".Zone", ".Namespace"), example="{{ .DisplayName }}.svc.mesh.local"),
                required=True,
            ),
            "selector": Field(Record(dict.fromkeys(_KIND_BY_SELECTOR, _MATCH), check=_one), required=True),
            "extension": Field(EXTENSION, dormant="this control plane has no extensions"),
        },
        build=_build,
    ),
)
