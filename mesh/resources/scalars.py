"""The scalars of a schema: text, numbers, choices, spans; and `Scalar`, to add one by a parse function."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mesh.model.durations import format_duration, parse_duration
from mesh.resources.documents import Path, Value, suggest
from mesh.resources.schema import Checking, JsonSchema, shape

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?\Z")


@attrs.frozen
class Scalar:
    """A scalar of a caller's own. `parse` gets text, an int or a float and raises ValueError saying what is wrong."""

    what: str
    parse: Callable[[str | int | float], Any]
    json: Mapping[str, Any] = attrs.field(factory=lambda: {"type": ["string", "number"]}, kw_only=True)

    def read(self, value: Value, path: Path, checking: Checking) -> Any:
        if value is None or isinstance(value, bool | dict | list):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return None
        try:
            return self.parse(value)
        except ValueError as error:
            text = str(error)
            checking.refuse(
                path, text or f"expects {self.what}, got {shape(value)}", f"expects {self.what}" if text else ""
            )
            return None

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return dict(self.json)


@attrs.frozen(kw_only=True)
class Anything:
    """A value that is kept as it was written."""

    what: str = "any value"

    def read(self, value: Value, path: Path, checking: Checking) -> Value:
        return value

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {}


@attrs.frozen(kw_only=True)
class Boolean:
    """true or false."""

    what: str = "true or false"

    def read(self, value: Value, path: Path, checking: Checking) -> bool:
        if not isinstance(value, bool):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return False
        return value

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {"type": "boolean"}


@attrs.frozen(kw_only=True)
class Text:
    """Text, at least one character unless `empty`; the whole of it matches `pattern` where there is one."""

    what: str = "text"
    pattern: str = ""
    size_max: int = 4096
    empty: bool = False

    def read(self, value: Value, path: Path, checking: Checking) -> str:
        if not isinstance(value, str):
            hint = f'quote it: "{str(value).lower()}"' if isinstance(value, bool | int | float) else ""
            checking.refuse(path, f"expects {self.what}, got {shape(value)}", hint)
            return ""
        if not value and not self.empty:
            checking.refuse(path, f"expects {self.what}, got nothing")
        elif len(value) > self.size_max:
            checking.refuse(path, f"takes at most {self.size_max} characters, got {len(value)}")
        elif value and self.pattern and not re.fullmatch(self.pattern, value):
            checking.refuse(path, f"expects {self.what}, got '{value}'")
        return value

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {"type": "string", **({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})}


@attrs.frozen
class OneOf:
    """One word of several. `unsupported` maps words that exist elsewhere to why they are refused here.

    `dormant` maps words that are taken to why they have no effect, as it reads after "kept, but ".
    """

    choices: tuple[str, ...]
    unsupported: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    dormant: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    @property
    def what(self) -> str:
        return f"one of {', '.join(self.choices)}"

    def read(self, value: Value, path: Path, checking: Checking) -> str:
        if isinstance(value, str) and value in self.choices:
            if value in self.dormant:
                checking.warn(path, f"'{value}' is kept, but {self.dormant[value]}")
            return value
        if isinstance(value, str) and value in self.unsupported:
            checking.refuse(path, f"'{value}' {self.unsupported[value]}", f"expects {self.what}")
        else:
            guess = suggest(value, self.choices) if isinstance(value, str) else ""
            checking.refuse(path, f"expects {self.what}, got {shape(value)}", guess)
        return ""

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {"enum": list(self.choices)}


@attrs.frozen(kw_only=True)
class Integer:
    """A whole number within bounds, both included."""

    min: int | None = None
    max: int | None = None

    @property
    def what(self) -> str:
        return "a whole number" + _range(self.min, self.max)

    def read(self, value: Value, path: Path, checking: Checking) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not _within(value, self.min, self.max):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return 0
        return value

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        return {"type": "integer", **_json_range(self.min, self.max)}


@attrs.frozen(kw_only=True)
class Number:
    """A number within bounds, both included; `text` takes it in quotes too (Kuma's IntOrString: "1.9")."""

    min: float | None = None
    max: float | None = None
    text: bool = False

    @property
    def what(self) -> str:
        return "a number" + _range(self.min, self.max)

    def read(self, value: Value, path: Path, checking: Checking) -> float:
        number = value
        if self.text and isinstance(value, str) and _NUMBER.match(value):
            number = float(value)
        if isinstance(number, bool) or not isinstance(number, int | float) or not _within(number, self.min, self.max):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return 0.0
        return number

    def canonical(self, value: Value) -> Value:
        return value

    def json_schema(self) -> JsonSchema:
        number: JsonSchema = {"type": "number", **_json_range(self.min, self.max)}
        return {"anyOf": [number, {"type": "string", "pattern": _NUMBER.pattern[:-2] + "$"}]} if self.text else number


@attrs.frozen(kw_only=True)
class Duration:
    """A span in Go's notation, never negative. Gives seconds."""

    min_s: float = 0.0
    positive: bool = False  # 0s is refused

    @property
    def what(self) -> str:
        bounds = [f"at least {format_duration(self.min_s)}"] if self.min_s else []
        bounds += ["above 0s"] if self.positive else []
        return "a duration such as 250ms, 2s or 1m30s" + (f", {' and '.join(bounds)}" if bounds else "")

    def read(self, value: Value, path: Path, checking: Checking) -> float:
        if not isinstance(value, str) and not (value == 0 and not isinstance(value, bool)):
            missing_unit = isinstance(value, int | float) and not isinstance(value, bool)
            hint = f"give the number a unit: {value}ms, {value}s" if missing_unit else ""
            checking.refuse(path, f"expects {self.what}, got {shape(value)}", hint)
            return 0.0
        try:
            seconds = parse_duration(str(value))
        except ValueError:
            checking.refuse(path, f"expects {self.what}, got '{value}'", "units: ns, us, ms, s, m, h")
            return 0.0
        if seconds < self.min_s or (self.positive and seconds == 0):
            checking.refuse(path, f"expects {self.what}, got '{value}'")
        return seconds

    def canonical(self, value: Value) -> Value:
        return format_duration(parse_duration(str(value)))

    def json_schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "string", "pattern": r"^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$"}, {"const": 0}]}


def _within(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f", at least {low}"
    return f", at most {high}" if high is not None else ""


def _json_range(low: float | None, high: float | None) -> JsonSchema:
    bounds = {"minimum": low, "maximum": high}
    return {name: bound for name, bound in bounds.items() if bound is not None}
