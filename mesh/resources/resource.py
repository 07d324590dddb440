"""Resource: one thing an operator wrote, with the envelope that all kinds share; and Kind, the definition of one.

A kind's schema turns its fields into a typed `spec`; `written` keeps them as they came, to store and to show.
Source: Kuma's universal format: `type`, `name`, `mesh`, `labels`, and `spec` or, for the old kinds, fields at the top.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from mesh.resources.documents import Value
from mesh.resources.scalars import Anything, Text
from mesh.resources.schema import Field, MapOf, Record, Schema

DISPLAY_NAME = "kuma.io/display-name"
EFFECT = "kuma.io/effect"
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
    """One resource, validated. `spec` is what its kind's schema builds, e.g. `Dataplane` or `Policy`."""

    kind: str
    name: str
    mesh: str = ""  # empty for kinds of the whole installation
    labels: Mapping[str, str] = attrs.field(factory=dict)
    spec: Any
    written: Mapping[str, Value] = attrs.field(factory=dict, repr=False)
    source: Source = attrs.field(default=Source(), eq=False)

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


@attrs.frozen(kw_only=True)
class Kind:
    """The definition of one kind: everything that a new one needs beside a line in the registry.

    `path` and `short` name it in URLs and on the command line. `inline`: its fields stand at the top, without `spec`.
    """

    name: str
    path: str
    short: str
    spec: Record
    name_schema: Schema = NAME
    mesh_scoped: bool = True
    inline: bool = False

    def envelope(self) -> Record:
        """Return the schema of a whole document of this kind; gives a dict with `name`, `mesh`, `labels` and `spec`."""
        fields: dict[str, Schema | Field] = {
            "type": Field(Text(what=f"the kind, {self.name}"), required=True),
            "name": Field(self.name_schema, required=True),
            "labels": Field(LABELS, default={}),
        }
        if self.mesh_scoped:
            fields["mesh"] = Field(DNS_LABEL, default=DEFAULT_MESH)
        # What a server adds: taken, so that what was read can be applied again, and not looked at.
        fields |= {name: Field(Anything()) for name in ("creationTime", "modificationTime", "kri", "status")}
        if not self.inline:
            return Record({**fields, "spec": Field(self.spec, default=None)}, what=f"a {self.name}")
        own = self.spec
        return Record(
            {**fields, **own.fields},
            check=own.check,
            retired=own.retired,
            not_yet=own.not_yet,
            build=lambda record: {**record, "spec": own.build(record) if own.build else record},
            what=f"a {self.name}",
        )
