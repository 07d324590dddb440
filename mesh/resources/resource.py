"""Resource: one thing an operator wrote, with the envelope that all kinds share; and Kind, the definition of one.

A kind's schema turns its fields into a typed `spec`; `written` keeps them as they came, to store and to show.
Source: Kuma's universal format: `type`, `name`, `mesh`, `labels`, and `spec` or, for the old kinds, fields at the top.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Value
from mesh.resources.scalars import Anything, OneOf, Text
from mesh.resources.schema import Field, MapOf, Record, Schema

DISPLAY_NAME = "kuma.io/display-name"
EFFECT = "kuma.io/effect"
MESH = "kuma.io/mesh"
NAMESPACE = "k8s.kuma.io/namespace"
ORIGIN = "kuma.io/origin"
POLICY_ROLE = "kuma.io/policy-role"
WORKLOAD = "kuma.io/workload"
ZONE = "kuma.io/zone"

DEFAULT_MESH = "default"
DEFAULT_ZONE = "default"

S = TypeVar("S")

NAME = Text(what="a name of lower case letters, digits, '.', '_' and '-'", pattern=r"[a-z0-9._-]+", size_max=253)
DNS_LABEL = Text(
    what="a name of lower case letters, digits and '-', starting with a letter",
    pattern=r"[a-z]([a-z0-9-]*[a-z0-9])?",
    size_max=63,
)
LABELS = MapOf(Text(what="text (a label's value)", empty=True, size_max=253), what="a mapping of labels")


@attrs.frozen(kw_only=True)
class Source:
    """Where a resource was written; line 0: not in a file."""

    file: str = ""
    line: int = 0
    column: int = 0


@attrs.frozen(kw_only=True)
class Resource:
    """One resource, validated. `spec` is what its kind's schema builds, e.g. `Dataplane` or `Policy`.

    `written` is the whole document as values, in Kuma 3.0's universal shape whatever shape it came in; see `writing`.
    `created` is in seconds since the epoch, 0: not known. `warnings`: what was rewritten, or is kept without effect.
    """

    kind: str
    name: str
    mesh: str = ""  # empty for kinds of the whole installation
    labels: Mapping[str, str] = attrs.field(factory=dict)
    spec: Any
    written: Mapping[str, Value] = attrs.field(factory=dict, repr=False, eq=False)
    source: Source = attrs.field(default=Source(), eq=False)
    created: float = attrs.field(default=0.0, eq=False)
    warnings: tuple[Violation, ...] = attrs.field(default=(), eq=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what names a resource: kind, mesh, name."""
        return (self.kind, self.mesh, self.name)

    @property
    def display_name(self) -> str:
        """Return the name that operators gave it; a synchronised copy has a longer `name`."""
        return self.labels.get(DISPLAY_NAME, self.name)

    def label(self, key: str) -> str | None:
        """Return a label as selectors see it: the display name can be selected whether it was written or not."""
        return self.display_name if key == DISPLAY_NAME else self.labels.get(key)

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        """Does it carry all of `labels`? None at all match everything."""
        return all(self.label(key) == value for key, value in labels.items())

    def spec_as(self, spec_type: type[S]) -> S:
        """Return the spec as the type that its kind has."""
        assert isinstance(self.spec, spec_type), f"a {self.kind} is not a {spec_type.__name__}"
        return self.spec


# What a server adds: taken, so that what was read can be applied again.
SERVER_FIELDS = ("creationTime", "modificationTime", "kri", "status")


@attrs.frozen(kw_only=True, eq=False)
class Kind:
    """The definition of one kind: everything that a new one needs beside a line in the registry.

    `path` and `short` name it in URLs and on the command line. `inline`: its fields stand at the top, without `spec`.
    `policy`: its spec is a `Policy`, with `to` items or inbound `rules` where `has_to` and `has_rules` say so.
    `dormant`: why proxies do not act on it, as it reads after "kept, but ". `generated`: only the control plane writes it.
    `confidential`: what it holds is shown in no message.
    """

    name: str
    path: str
    short: str
    spec: Record
    name_schema: Schema = NAME
    mesh_scoped: bool = True
    inline: bool = False
    policy: bool = False
    has_to: bool = False
    has_rules: bool = False
    dormant: str = ""
    generated: bool = False
    confidential: bool = False

    @cached_property
    def envelope(self) -> Record:
        """The schema of a whole document of this kind; gives a dict with `name`, `mesh`, `labels` and `spec`."""
        own = self.spec
        fields: dict[str, Schema | Field] = {"type": Field(OneOf((self.name,)), required=True)}
        if self.mesh_scoped:
            fields["mesh"] = Field(DNS_LABEL, default=DEFAULT_MESH)
        fields["name"] = Field(self.name_schema, required=True)
        fields["labels"] = Field(LABELS, default={})
        fields |= {name: Field(Anything()) for name in SERVER_FIELDS}
        if not self.inline:
            required = self.policy or any(field.required for field in own.fields.values())
            spec = Field(own, required=required, default=own.build({}) if own.build and not required else {})
            return Record({**fields, "spec": spec}, what=f"a {self.name}")
        return Record(
            {**fields, **own.fields},
            check=own.check,
            retired=own.retired,
            extensible=own.extensible,
            build=lambda record: {**record, "spec": own.build(record) if own.build else _without(record, fields)},
            what=f"a {self.name}",
        )


def _without(record: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}
