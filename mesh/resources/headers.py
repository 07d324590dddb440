"""HTTP headers in policies: matched, set, added and removed. Source: Kuma `api/common/v1alpha1`, the Gateway API."""

from collections.abc import Iterable
from typing import Any

from mesh.policy.header_changes import UNCHANGEABLE
from mesh.policy.patterns import compile_pattern
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record

_COUNT_MAX = 16
_SYNTAX = "expressions are RE2's: github.com/google/re2/wiki/Syntax"

# Source: RFC 9110 section 5.1, a token.
HEADER_NAME = Text(what="the name of a header", pattern=r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", size_max=256)
# No line breaks, which would end the header, and no other control characters. Source: RFC 9110 section 5.5.
_VALUE = Text(what="the value of a header", pattern=r"[^\x00-\x08\x0a-\x1f\x7f]*", empty=True, size_max=4096)
# Without the asterisk, which would mean more headers than one: see `mesh.policy.header_changes`.
_CHANGED_NAME = Text(what="the name of a header", pattern=r"[A-Za-z0-9!#$%&'+.^_`|~-]+", size_max=256)
_NAMED = Record({"name": Field(_CHANGED_NAME, required=True), "value": Field(_VALUE, required=True)})
_LIST = ListOf(_NAMED, size_max=_COUNT_MAX)

HEADERS_TO_ADD = Record({"set": _LIST, "add": _LIST})


def _with_value(match: dict[str, Any]) -> Iterable[Problem]:
    kind, value = match.get("type", "Exact"), match.get("value")
    if kind in ("Present", "Absent") and value:
        yield Problem(("value",), f"'value' cannot stand with type: {kind}")
    if kind not in ("Present", "Absent") and value is None:
        yield Problem((), "'value' is missing", f"type: {kind} needs it")
    if kind == "RegularExpression" and value is not None:
        yield from valid_expression(value)


def valid_expression(value: str) -> Iterable[Problem]:
    """Find what is wrong with the regular expression under `value`: RE2 must take it, which has no look-around."""
    try:
        compile_pattern(value)
    except ValueError as error:
        yield Problem(("value",), f"'{value}' is not a regular expression that RE2 runs: {error}", _SYNTAX)


HEADER_MATCH = Record(
    {
        "type": OneOf(("Exact", "Present", "RegularExpression", "Absent", "Prefix")),
        "name": Field(HEADER_NAME, required=True),
        "value": _VALUE,
    },
    check=_with_value,
)


def _once_each(modifier: dict[str, Any]) -> Iterable[Problem]:
    if not modifier:
        yield Problem((), "needs at least one of set, add, remove")
    seen: set[str] = set()
    for key in ("set", "add", "remove"):
        for index, entry in enumerate(modifier.get(key, ())):
            name = (entry if isinstance(entry, str) else entry["name"]).casefold()
            if name in UNCHANGEABLE:
                yield Problem(
                    (key, index), f"header '{name}' cannot be changed", "it frames the message or names its host"
                )
            if name in seen:
                yield Problem((key, index), f"header '{name}' is there twice")
            seen.add(name)


HEADER_MODIFIER = Record(
    {"set": _LIST, "add": _LIST, "remove": ListOf(_CHANGED_NAME, size_max=_COUNT_MAX)}, check=_once_each
)
