"""Patterns: read a whole head at once whose field names are known, where nothing in it is out of the ordinary.

A pattern matches only what llhttp accepts and reads in the same way, and of that only the plain part: printable ASCII, one
space after each colon, common methods and versions. Whatever it does not match, llhttp judges. Fields that mean something
to llhttp itself (framing by chunks, upgrades, options of the connection but keep-alive) have no pattern at all.
"""

import re
from collections.abc import Callable, Sequence

Match = Callable[[bytes], "re.Match[bytes] | None"]

_VALUE = rb"([!-~][ -~]*+)(?<! )"
_VALUE_BY_NAME = {b"content-length": rb"([0-9]{1,18})", b"connection": rb"(keep-alive|Keep-Alive)"}
_NO_PATTERN = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"te", b"proxy-connection", b"keep-alive"})
# As llhttp has it, but for a fragment and for what no URI may hold though llhttp lets it through. Source: RFC 3986 section 2.
_TARGET = rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*+"
_REQUEST_LINE = rb"(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) (" + _TARGET + rb") HTTP/1\.1\r\n"
_STATUS_LINE = rb"(HTTP/1\.1 [2-5][0-9][0-9] [!-~][ -~]{0,48})(?<! )\r\n"
_FIELDS_MAX = 40


def request_pattern(names: Sequence[bytes]) -> Match | None:
    """Return what matches requests with these fields: its groups are method, target and the values."""
    lower = [name.lower() for name in names]
    return _compile(_REQUEST_LINE, names) if lower.count(b"host") == 1 else None


def response_pattern(names: Sequence[bytes]) -> Match | None:
    """Return what matches responses with these fields: its groups are the status line and the values."""
    return _compile(_STATUS_LINE, names)


def _compile(line: bytes, names: Sequence[bytes]) -> Match | None:
    lower = [name.lower() for name in names]
    if len(names) > _FIELDS_MAX or not _NO_PATTERN.isdisjoint(lower):
        return None
    fields = [
        re.escape(name) + b": " + _VALUE_BY_NAME.get(key, _VALUE) + rb"\r\n"
        for name, key in zip(names, lower, strict=True)
    ]
    return re.compile(line + b"".join(fields) + rb"\r\n").match
