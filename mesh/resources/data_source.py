"""Where a certificate or key comes from: a file, a Secret, an environment variable, or the resource itself.

Source: Kuma 3.0 SecureDataSource. What stands in the resource itself is shown in no message and no representation.
"""

import enum
from typing import Any

import attrs

from mesh.resources.documents import Path, Value
from mesh.resources.resource import NAME
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Checking, Field, JsonSchema, Record
from mesh.resources.variants import Variant, by_type


class DataSourceKind(enum.Enum):
    """Where data comes from. Files and variables are the proxy's own."""

    FILE = "File"
    SECRET = "Secret"
    ENV_VAR = "EnvVar"
    INLINE = "InsecureInline"


@attrs.frozen(kw_only=True)
class DataSource:
    """One source. `place`: the file's path, the Secret's or the variable's name; `value`: what is written inline."""

    kind: DataSourceKind
    place: str = ""
    value: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class ConfidentialText:
    """Text that no message shows."""

    what: str = "text"

    def read(self, value: Value, path: Path, checking: Checking) -> str:
        if isinstance(value, str) and value:
            return value
        checking.refuse(path, f"expects {self.what}", "quote it" if value is not None and value != "" else "")
        return ""

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {"type": "string", "minLength": 1}


def _build(source: dict[str, Any]) -> DataSource:
    kind = DataSourceKind(source["type"])
    match kind:
        case DataSourceKind.FILE:
            return DataSource(kind=kind, place=source["file"]["path"])
        case DataSourceKind.SECRET:
            return DataSource(kind=kind, place=source["secretRef"]["name"])
        case DataSourceKind.ENV_VAR:
            return DataSource(kind=kind, place=source["envVar"]["name"])
        case DataSourceKind.INLINE:
            return DataSource(kind=kind, value=source["insecureInline"]["value"])


_VARIABLE = Text(what="the name of an environment variable", pattern=r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_REF = Record({"kind": Field(OneOf(("Secret",)), required=True), "name": Field(NAME, required=True)})

DATA_SOURCE = by_type(
    {
        "File": Variant("file", Record({"path": Field(Text(what="the path of a file"), required=True)})),
        "Secret": Variant("secretRef", _SECRET_REF),
        "EnvVar": Variant("envVar", Record({"name": Field(_VARIABLE, required=True)})),
        "InsecureInline": Variant(
            "insecureInline", Record({"value": Field(ConfidentialText(), required=True)}, confidential=True)
        ),
    },
    build=_build,
    confidential=True,
    what="a source such as {type: Secret, secretRef: {kind: Secret, name: NAME}}",
)
