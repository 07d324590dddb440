"""A small language for what a document may contain; one definition gives parsed values, violations and a JSON Schema.

A schema is a tree of frozen values: `Record` (known keys), `MapOf` (any keys), `ListOf`, `ByShape` (text or number or
mapping or list) and the scalars of `mesh.resources.scalars`. To add a scalar, give `Scalar` a name and a parse function;
to add a kind of node, implement `Schema`.
Everything wrong is collected, nothing stops at the first violation; what was read beside it is handed back.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path, Value, suggest

JsonSchema = dict[str, Any]


@attrs.define(eq=False)
class Checking:
    """One check of one document: where it is and what was found so far."""

    document: Document
    violations: list[Violation] = attrs.Factory(list)

    def refuse(self, path: Path, message: str, hint: str = "") -> None:
        """Add one violation at `path`."""
        self.violations.append(self.document.violation(path, message, hint))


class Schema(Protocol):
    """What one value may be."""

    @property
    def what(self) -> str:
        """Name what is allowed, as it reads after "expects": "text", "a duration such as 250ms"."""
        ...

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        """Return the parsed value; add a violation for everything that is wrong in it."""
        ...

    def json_schema(self) -> JsonSchema:
        """Describe it in JSON Schema (draft 2020-12)."""
        ...


@attrs.frozen
class Problem:
    """What a check function finds: `path` is relative to the value it was given."""

    path: Path
    message: str
    hint: str = ""


Check = Callable[[Any], Iterable[Problem]]


def check(document: Document, path: Path, schema: Schema) -> tuple[Any, list[Violation]]:
    """Read what stands at `path` of a document. The value is whole only where there are no violations."""
    checking = Checking(document)
    return schema.read(document.at(path), path, checking), checking.violations


def json_schema(schema: Schema, *, title: str = "") -> JsonSchema:
    """Return the JSON Schema of a whole document, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, **({"title": title} if title else {}), **schema.json_schema()}


def shape(value: Value) -> str:
    """Say what a value is, for "expects ..., got ..."."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case int() | float():
            return f"the number {value}"
        case _:
            return f"'{value}'"


_ABSENT = object()


@attrs.frozen
class Field:
    """One key of a record. A key that is absent gets `default`, or is left out where there is none."""

    schema: Schema
    required: bool = attrs.field(default=False, kw_only=True)
    default: Any = attrs.field(default=_ABSENT, kw_only=True)


def _fields(fields: Mapping[str, "Schema | Field"]) -> Mapping[str, Field]:
    return {name: field if isinstance(field, Field) else Field(field) for name, field in fields.items()}


@attrs.frozen
class Record:
    """A mapping with known keys: a schema alone is an optional field. Gives a dict, or what `build` makes of it.

    `retired` maps keys that Kuma has or had to what to write instead, `not_yet` names those that are still to come.
    `check` runs, and `build` after it, only where the record itself is right; `what` names the record in messages.
    """

    fields: Mapping[str, Field] = attrs.field(converter=_fields)
    check: Check | None = attrs.field(default=None, kw_only=True)
    build: Callable[[dict[str, Any]], Any] | None = attrs.field(default=None, kw_only=True)
    retired: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    not_yet: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    what: str = attrs.field(default="a mapping", kw_only=True)

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        if not isinstance(value, dict):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}", f"allowed keys: {', '.join(self.fields)}")
            return None
        found_before = len(checking.violations)
        self._refuse_unknown(value, path, checking)
        result: dict[str, Any] = {}
        for name, field in self.fields.items():
            if name in value:
                result[name] = field.schema.read(value[name], (*path, name), checking)
            elif field.required:
                checking.refuse(path, f"'{name}' is missing", f"expects {field.schema.what}")
            elif field.default is not _ABSENT:
                result[name] = field.default
        if len(checking.violations) > found_before:
            return result
        for problem in self.check(result) if self.check else ():
            checking.refuse((*path, *problem.path), problem.message, problem.hint)
        if len(checking.violations) > found_before or self.build is None:
            return result
        return self.build(result)

    def _refuse_unknown(self, value: dict[str, Value], path: Path, checking: Checking) -> None:
        for key in value:
            if key in self.fields:
                continue
            allowed = f"allowed: {', '.join(self.fields)}" if self.fields else "no keys are allowed here"
            if key in self.retired:
                checking.refuse((*path, key), f"'{key}' is not supported", self.retired[key])
            elif key in self.not_yet:
                checking.refuse((*path, key), f"'{key}' is not supported yet", allowed)
            else:
                guess = suggest(key, self.fields)
                checking.refuse((*path, key), f"unknown key '{key}'", f"{guess} {allowed}" if guess else allowed)

    def json_schema(self) -> JsonSchema:
        properties = {}
        for name, field in self.fields.items():
            default = {"default": field.default} if isinstance(field.default, str | int | float | bool) else {}
            properties[name] = {**field.schema.json_schema(), **default}
        required = [name for name, field in self.fields.items() if field.required]
        schema: JsonSchema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": required} if required else schema


@attrs.frozen
class MapOf:
    """A mapping with keys of the operator's own. Gives a dict."""

    value: Schema
    what: str = attrs.field(default="a mapping", kw_only=True)

    def read(self, value: Value, path: Path, checking: Checking) -> dict[str, Any]:
        if not isinstance(value, dict):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return {}
        return {name: self.value.read(item, (*path, name), checking) for name, item in value.items()}

    def json_schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": self.value.json_schema()}


@attrs.frozen
class ListOf:
    """A list of one kind of item, at least `size_min` of them. Gives a tuple."""

    item: Schema
    size_min: int = attrs.field(default=0, kw_only=True)

    @property
    def what(self) -> str:
        return f"a list, each item {self.item.what}"

    def read(self, value: Value, path: Path, checking: Checking) -> tuple[Any, ...]:
        if not isinstance(value, list):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return ()
        if len(value) < self.size_min:
            checking.refuse(path, f"needs at least {self.size_min} item(s), got {len(value)}")
        return tuple(self.item.read(item, (*path, index), checking) for index, item in enumerate(value))

    def json_schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.json_schema(), "minItems": self.size_min}


@attrs.frozen(kw_only=True)
class ByShape:
    """One of several spellings, told apart by shape; a shape without a schema is refused."""

    text: Schema | None = None
    number: Schema | None = None
    mapping: Schema | None = None
    sequence: Schema | None = None

    @property
    def what(self) -> str:
        return " or ".join(choice.what for choice in self._choices())

    def _choices(self) -> list[Schema]:
        return [choice for choice in (self.text, self.number, self.mapping, self.sequence) if choice is not None]

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        match value:
            case None | bool():
                schema = None
            case dict():
                schema = self.mapping
            case list():
                schema = self.sequence
            case str():
                schema = self.text
            case _:
                schema = self.number
        if schema is None:
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return None
        return schema.read(value, path, checking)

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [choice.json_schema() for choice in self._choices()]}
