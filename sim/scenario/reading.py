"""A cursor into a document: strict reading that goes on after an error, so that all of a file's errors come at once.

A reader that finds a wrong value notes it with its place and hands back something harmless; whoever started the
reading raises what was noted. What a section means stands in the readers of the sections.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from mesh.model.errors import Violation
from mesh.resources.documents import Document, Path, Value, suggest
from sim.scenario.units import (
    parse_bandwidth,
    parse_change,
    parse_percent,
    parse_rate,
    parse_signed_span,
    parse_size,
    parse_span,
)

T = TypeVar("T")
_NO_HINTS: Mapping[str, str] = MappingProxyType({})

_KIND_BY_TYPE = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


class Cursor:
    """One place in a document, and where violations are noted."""

    __slots__ = ("document", "path", "value", "violations")

    def __init__(self, document: Document, path: Path, value: Value, violations: list[Violation]) -> None:
        self.document = document
        self.path = path
        self.value = value
        self.violations = violations

    def refuse(self, message: str, hint: str = "") -> None:
        """Note that the value here is wrong."""
        self.violations.append(self.document.violation(self.path, message, hint))

    def refuse_type(self, wanted: str) -> None:
        """Note that the value here is of another kind than `wanted`."""
        found = "nothing" if self.value is None else f"{_KIND_BY_TYPE[type(self.value)]} {_shown(self.value)}".rstrip()
        self.refuse(f"must be {wanted}, not {found}")

    def child(self, part: str | int) -> "Cursor":
        assert isinstance(self.value, dict | list)
        value = self.value[part]  # type: ignore[index]  # the caller took `part` from the value
        return Cursor(self.document, (*self.path, part), value, self.violations)

    def mapping(
        self, allowed: Iterable[str], required: Iterable[str] = (), hints: Mapping[str, str] = _NO_HINTS
    ) -> "dict[str, Cursor]":
        """Return the entries of a mapping, without those that are not allowed; `hints` for some that people write."""
        entries = self.entries()
        allowed = tuple(allowed)
        for name in [name for name in entries if name not in allowed]:
            hint = hints.get(name) or suggest(name, allowed) or f"allowed: {', '.join(allowed)}"
            entries.pop(name).refuse(f"unknown key '{name}'", hint)
        for name in required:
            if name not in entries and isinstance(self.value, dict):
                self.refuse(f"'{name}' is missing")
        return entries

    def entries(self) -> "dict[str, Cursor]":
        """Return the entries of a mapping whose keys are names that the operator chose."""
        if not isinstance(self.value, dict):
            self.refuse_type("a mapping")
            return {}
        return {name: self.child(name) for name in self.value}

    def elements(self) -> "Iterator[Cursor]":
        """Return the elements of a list."""
        if not isinstance(self.value, list):
            self.refuse_type("a list")
            return iter(())
        return (self.child(index) for index in range(len(self.value)))

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.refuse_type("text")
            return ""
        return self.value

    def name(self) -> str:
        """Return a name as DNS has it: lower case letters, digits, `-`; at most 63."""
        text = self.text()
        letters = text.replace("-", "")
        plain = letters.isascii() and letters.isalnum() and letters == letters.lower()
        if text and not (plain and len(text) <= 63 and text[0] != "-" and text[-1] != "-"):
            self.refuse(f"'{text}' is not a name; use at most 63 lower case letters, digits and '-'")
        return text

    def choice(self, allowed: Sequence[str]) -> str:
        text = self.text()
        if text and text not in allowed:
            self.refuse(f"unknown value '{text}'", suggest(text, allowed) or f"allowed: {', '.join(allowed)}")
            return allowed[0]
        return text or allowed[0]

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.refuse_type("true or false")
            return False
        return self.value

    def count(self, *, least: int = 0) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.refuse_type("a whole number")
            return least
        if self.value < least:
            self.refuse(f"must be at least {least}, not {self.value}")
            return least
        return self.value

    def number(self, *, least: float = 0.0) -> float:
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.refuse_type("a number")
            return max(least, 1.0)
        if self.value < least:
            self.refuse(f"must be at least {least:g}, not {self.value}")
            return max(least, 1.0)
        return float(self.value)

    def span(self, *, positive: bool = False) -> float:
        seconds = self._with_unit(parse_span, 1.0, "a span with a unit: 250us, 15ms, 2s, 1m30s")
        if positive and seconds == 0:
            self.refuse("must be longer than 0s")
            return 1.0
        return seconds

    def signed_span(self) -> float:
        return self._not_none(self._with_unit(parse_signed_span, 1.0, "a span with a unit and a sign: 90s, -2h"))

    def change(self) -> float:
        return self._not_none(self._with_unit(parse_change, 1.0, "a percentage with its sign: 0.02%, -5%"))

    def _not_none(self, value: float) -> float:
        if not value:
            self.refuse("must not be 0")
            return 1.0
        return value

    def rate(self) -> float:
        return self._with_unit(parse_rate, 1.0, "a rate with a unit: 60/s, 1200/m")

    def percent(self) -> float:
        return self._with_unit(parse_percent, 0.0, "a percentage: 0.2%, 70%")

    def bandwidth(self) -> float:
        return self._with_unit(parse_bandwidth, 1.0, "a bandwidth with a unit: 100kbit, 1Gbit")

    def size(self) -> int:
        return self._with_unit(parse_size, 0, "a size with a unit: 512B, 4KiB")

    def _with_unit(self, parse: Callable[[str], T], otherwise: T, wanted: str) -> T:
        # `0` is the one number that every unit agrees on; YAML hands it over as a number.
        if self.value == 0 and isinstance(self.value, int) and not isinstance(self.value, bool) and parse is parse_span:
            return parse("0")
        if not isinstance(self.value, str):
            self.refuse_type(wanted)
            return otherwise
        try:
            return parse(self.value)
        except ValueError as error:
            self.refuse(str(error))
            return otherwise


def _shown(value: Value) -> str:
    return "" if isinstance(value, dict | list) else repr(value)
