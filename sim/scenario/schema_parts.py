"""The pieces that the JSON Schema of scenario files is made of."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def text(what: str, pattern: str = "") -> Schema:
    return {"type": "string", "description": what} | ({"pattern": pattern} if pattern else {})


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def list_of(of: Schema, *, least: int = 0) -> Schema:
    return {"type": "array", "items": of} | ({"minItems": least} if least else {})


def map_of(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def section(what: str, properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "description": what,
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
SIDES = {
    "type": "array",
    "items": {"anyOf": [text("zone, service or instance"), list_of(text("name"))]},
    "minItems": 2,
}
TARGET = text("a service or instance")
ZONE = text("a zone")
