"""Reads the headers that scenarios give to requests, ask of them, or send with answers."""

import re

from sim.scenario.headers import Header
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")
_VALUES_MAX = 10_000
# They frame messages, or are how checks tell requests apart.
_OURS = ("connection", "content-length", "transfer-encoding", "x-request-id", "x-delivery-id")


def read_headers(cursor: Cursor, *, drawn: bool) -> tuple[Header, ...]:
    """Read `{name: value}`; where values may be drawn also `{name: [a, b]}` and `{name: {prefix: user-, count: 50}}`."""
    headers = []
    for name, entry in cursor.entries().items():
        _refuse_bad_name(entry, name)
        values = _values(entry) if drawn else (entry.text(),)
        for value in values:
            _refuse_bad_value(entry, value)
        headers.append(Header(name=name.lower(), values=values))
    return tuple(headers)


def read_header_name(cursor: Cursor) -> str:
    """Read the name of one header, in lower case."""
    name = cursor.text()
    if name:
        _refuse_bad_name(cursor, name)
    return name.lower()


def read_header_value(cursor: Cursor) -> str:
    """Read the value of one header."""
    value = cursor.text()
    _refuse_bad_value(cursor, value)
    return value


def _refuse_bad_name(cursor: Cursor, name: str) -> None:
    if not _NAME.match(name):
        cursor.refuse(f"'{name}' is not the name of a header")
    elif name.lower() in _OURS:
        cursor.refuse(f"'{name}' is written by the sender itself")


def _refuse_bad_value(cursor: Cursor, value: str) -> None:
    if value and not _VALUE.match(value):
        cursor.refuse(f"{value!r} is not the value of a header")


def _values(cursor: Cursor) -> tuple[str, ...]:
    if isinstance(cursor.value, dict):
        entries = cursor.mapping(keys("numbered"), required_keys("numbered"))
        prefix = entries["prefix"].text() if "prefix" in entries else ""
        count = entries["count"].count(least=1) if "count" in entries else 1
        if count > _VALUES_MAX:
            entries["count"].refuse(f"must be at most {_VALUES_MAX}, not {count}")
        return tuple(f"{prefix}{number}" for number in range(1, min(count, _VALUES_MAX) + 1))
    if isinstance(cursor.value, list):
        values = tuple(element.text() for element in cursor.elements())
        if not values:
            cursor.refuse("must have at least one value")
        return values or ("",)
    return (cursor.text(),)
