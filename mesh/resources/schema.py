"""A small language for what a document may contain; one definition gives parsed values, violations and a JSON Schema.

A schema is a tree of frozen values: `Record` (known keys), `MapOf` (any keys), `ListOf`, `ByShape` (text or number or
mapping or list) and the scalars of `mesh.resources.scalars`. To add a scalar, give `Scalar` a name and a parse function;
to add a kind of node, implement `Schema`.
Everything wrong is collected, nothing stops at the first violation; what was read beside it is handed back.
What is right but has no effect in this version is noted as a warning.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path, Value, suggest

JsonSchema = dict[str, Any]


@attrs.define(eq=False)
class Checking:
    """One check of one document: where it is and what was found so far. `lenient`: see `Problem.tolerable`."""

    document: Document
    lenient: bool = attrs.field(default=False, kw_only=True)
    violations: list[Violation] = attrs.Factory(list)
    warnings: list[Violation] = attrs.Factory(list)

    def refuse(self, path: Path, message: str, hint: str = "") -> None:
        """Add one violation at `path`."""
        self.violations.append(self.document.violation(path, message, hint))

    def warn(self, path: Path, message: str, hint: str = "") -> None:
        """Note something that is taken, and that the operator should know of."""
        self.warnings.append(self.document.violation(path, message, hint))


class Schema(Protocol):
    """What one value may be."""

    @property
    def what(self) -> str:
        """Name what is allowed, as it reads after "expects": "text", "a duration such as 250ms"."""
        ...

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        """Return the parsed value; add a violation for everything that is wrong in it."""
        ...

    def canonical(self, value: Value) -> Value:
        """Return a right value as Kuma writes it again: spans in Go's notation, keys in the schema's order."""
        ...

    def json_schema(self) -> JsonSchema:
        """Describe it in JSON Schema (draft 2020-12)."""
        ...


@attrs.frozen
class Problem:
    """What a check function finds: `path` is relative to the value it was given.

    `warning`: it may stay so. `tolerable`: it may be looked at so, but not applied.
    """

    path: Path
    message: str
    hint: str = ""
    warning: bool = attrs.field(default=False, kw_only=True)
    tolerable: bool = attrs.field(default=False, kw_only=True)


Check = Callable[[Any], Iterable[Problem]]


def check(document: Document, path: Path, schema: Schema) -> tuple[Any, list[Violation]]:
    """Read what stands at `path` of a document. The value is whole only where there are no violations."""
    value, checking = read(document, path, schema)
    return value, checking.violations


def read(document: Document, path: Path, schema: Schema, *, lenient: bool = False) -> tuple[Any, Checking]:
    """Like `check`, with the warnings too."""
    checking = Checking(document, lenient=lenient)
    return schema.read(document.at(path), path, checking), checking


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
GUESSES_MAX = 100  # A guess takes long: a document that is wrong throughout gets no more of them.


# Why a field or a kind is kept without effect, as it reads after "kept, but ".
LATER = "sidecars of this version do not act on it yet"
UNREDIRECTED = "traffic is not redirected to sidecars in this version: applications call the ports of outbounds"


@attrs.frozen
class Field:
    """One key of a record. A key that is absent gets `default`, or is left out where there is none.

    `filled`: the canonical form writes the default out. `dormant`: why what is written here has no effect, see `LATER`.
    """

    schema: Schema
    required: bool = attrs.field(default=False, kw_only=True)
    default: Any = attrs.field(default=_ABSENT, kw_only=True)
    filled: bool = attrs.field(default=False, kw_only=True)
    dormant: str = attrs.field(default="", kw_only=True)


def later(schema: Schema) -> Field:
    """Return an optional field that is kept, and that sidecars of this version do not act on yet."""
    return Field(schema, dormant=LATER)


def _fields(fields: Mapping[str, "Schema | Field"]) -> Mapping[str, Field]:
    return {name: field if isinstance(field, Field) else Field(field) for name, field in fields.items()}


@attrs.frozen
class Record:
    """A mapping with known keys: a schema alone is an optional field. Gives a dict, or what `build` makes of it.

    `retired` maps keys that Kuma has or had to what to write instead; `extensible` takes and keeps keys of any name.
    `check` runs, and `build` after it, only where the record itself is right; `what` names the record in messages.
    `confidential`: messages do not show what was written in its place.
    """

    fields: Mapping[str, Field] = attrs.field(converter=_fields)
    check: Check | None = attrs.field(default=None, kw_only=True)
    build: Callable[[dict[str, Any]], Any] | None = attrs.field(default=None, kw_only=True)
    retired: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    extensible: bool = attrs.field(default=False, kw_only=True)
    confidential: bool = attrs.field(default=False, kw_only=True)
    what: str = attrs.field(default="a mapping", kw_only=True)

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        if not isinstance(value, dict):
            got = "something else" if self.confidential else shape(value)
            checking.refuse(path, f"expects {self.what}, got {got}", f"allowed keys: {', '.join(self.fields)}")
            return None
        found_before = len(checking.violations)
        result = self._read_unknown(value, path, checking)
        for name, field in self.fields.items():
            if name in value:
                result[name] = field.schema.read(value[name], (*path, name), checking)
                if field.dormant:
                    checking.warn((*path, name), f"'{name}' is kept, but {field.dormant}")
            elif field.required:
                checking.refuse(path, f"'{name}' is missing", f"expects {field.schema.what}")
            elif field.default is not _ABSENT:
                result[name] = field.default
        if len(checking.violations) > found_before:
            return result
        for problem in self.check(result) if self.check else ():
            stays = problem.warning or (problem.tolerable and checking.lenient)
            note = checking.warn if stays else checking.refuse
            note((*path, *problem.path), problem.message, problem.hint)
        if len(checking.violations) > found_before or self.build is None:
            return result
        return self.build(result)

    def _read_unknown(self, value: dict[str, Value], path: Path, checking: Checking) -> dict[str, Any]:
        kept = {}
        for key in value:
            if key in self.fields:
                continue
            allowed = f"allowed: {', '.join(self.fields)}" if self.fields else "no keys are allowed here"
            if key in self.retired:
                checking.refuse((*path, key), f"'{key}' is not supported", self.retired[key])
            elif self.extensible:
                kept[key] = value[key]
            else:
                guess = suggest(key, self.fields) if len(checking.violations) < GUESSES_MAX else ""
                checking.refuse((*path, key), f"unknown key '{key}'", f"{guess} {allowed}" if guess else allowed)
        return kept

    def canonical(self, value: Value) -> Value:
        if not isinstance(value, dict):
            return value
        result: dict[str, Value] = {}
        for name, field in self.fields.items():
            if name in value:
                result[name] = field.schema.canonical(value[name])
            elif field.filled:
                result[name] = field.default
        return {**result, **{key: kept for key, kept in value.items() if key not in self.fields}}

    def json_schema(self) -> JsonSchema:
        properties = {}
        for name, field in self.fields.items():
            default = {"default": field.default} if isinstance(field.default, str | int | float | bool) else {}
            properties[name] = {**field.schema.json_schema(), **default}
        required = [name for name, field in self.fields.items() if field.required]
        schema: JsonSchema = {"type": "object", "properties": properties}
        if not self.extensible:
            schema["additionalProperties"] = False
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

    def canonical(self, value: Value) -> Value:
        return {key: self.value.canonical(item) for key, item in value.items()} if isinstance(value, dict) else value

    def json_schema(self) -> JsonSchema:
        return {"type": "object", "additionalProperties": self.value.json_schema()}


@attrs.frozen
class ListOf:
    """A list of one kind of item, at least `size_min` and at most `size_max` (0: any number). Gives a tuple."""

    item: Schema
    size_min: int = attrs.field(default=0, kw_only=True)
    size_max: int = attrs.field(default=0, kw_only=True)

    @property
    def what(self) -> str:
        return f"a list, each item {self.item.what}"

    def read(self, value: Value, path: Path, checking: Checking) -> tuple[Any, ...]:
        if not isinstance(value, list):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return ()
        if len(value) < self.size_min:
            checking.refuse(path, f"needs at least {self.size_min} item(s), got {len(value)}")
        if self.size_max and len(value) > self.size_max:
            checking.refuse(path, f"takes at most {self.size_max} item(s), got {len(value)}")
        return tuple(self.item.read(item, (*path, index), checking) for index, item in enumerate(value))

    def canonical(self, value: Value) -> Value:
        return [self.item.canonical(item) for item in value] if isinstance(value, list) else value

    def json_schema(self) -> JsonSchema:
        most = {"maxItems": self.size_max} if self.size_max else {}
        return {"type": "array", "items": self.item.json_schema(), "minItems": self.size_min, **most}


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

    def _choice(self, value: Value) -> Schema | None:
        match value:
            case None | bool():
                return None
            case dict():
                return self.mapping
            case list():
                return self.sequence
            case str():
                return self.text
            case _:
                return self.number

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        schema = self._choice(value)
        if schema is None:
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return None
        return schema.read(value, path, checking)

    def canonical(self, value: Value) -> Value:
        schema = self._choice(value)
        return value if schema is None else schema.canonical(value)

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [choice.json_schema() for choice in self._choices()]}
