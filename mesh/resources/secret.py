"""Secret and GlobalSecret: bytes that only administrators may read, of one mesh and of the whole installation.

`data` is in base64 outside. No message and no representation shows it.
"""

import base64
import binascii
from typing import Any

import attrs

from mesh.resources.documents import Path, Value
from mesh.resources.resource import Kind
from mesh.resources.schema import Checking, Field, JsonSchema, Record

_SIZE_MAX = 1_400_000  # characters; 1 MiB of data, as Kubernetes has it


@attrs.frozen(kw_only=True)
class Secret:
    """The data of a Secret or GlobalSecret."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Base64:
    """Bytes in base64, shown nowhere."""

    what: str = "data in base64"

    def read(self, value: Value, path: Path, checking: Checking) -> bytes:
        if not isinstance(value, str):
            checking.refuse(path, f"expects {self.what}, as text", "quote it" if value is not None else "")
            return b""
        if len(value) > _SIZE_MAX:
            checking.refuse(path, f"takes at most {_SIZE_MAX:,} characters, got {len(value):,}")
            return b""
        try:
            # YAML folds long text with line breaks; base64 has none of its own.
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            checking.refuse(path, f"expects {self.what}", "`base64 -w0 FILE` writes it")
            return b""

    def canonical(self, value: Value) -> Value:
        return "".join(value.split()) if isinstance(value, str) else value

    def json_schema(self) -> JsonSchema:
        return {"type": "string", "contentEncoding": "base64"}


def _build(record: dict[str, Any]) -> Secret:
    return Secret(data=record["data"])


def _kind(name: str, *, path: str, short: str, mesh_scoped: bool) -> Kind:
    data = Record({"data": Field(Base64(), required=True)}, build=_build)
    return Kind(name=name, path=path, short=short, mesh_scoped=mesh_scoped, inline=True, confidential=True, spec=data)


SECRET = _kind("Secret", path="secrets", short="sec", mesh_scoped=True)
GLOBAL_SECRET = _kind("GlobalSecret", path="global-secrets", short="gsec", mesh_scoped=False)
