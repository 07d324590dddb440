"""Header changes: what a route sets, adds and removes, prepared once as lines that are written as they are.

Removals come first and then, in their order, what is set and added, as in Envoy (`HeaderParser::evaluateHeaders`):
so a header that one change adds and another removes is there. Unlike Envoy's, values are taken literally: `%` starts
nothing, and an empty value is set.
"""

import re
from collections.abc import Iterable, Sequence

from mesh.policy.routing import HeaderChanges

# They say how a message is framed, which hop it is for and whom it asks: whoever changes them breaks the message.
# Source: RFC 9110 section 7.6.1, RFC 9112 section 6; Envoy refuses to change the host.
UNCHANGEABLE = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FORBIDDEN = "\r\n\0"
# Source: RFC 9110 section 5.1, without the asterisk: where names are taken out, one at the end means all that begin so.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")


class PreparedChanges:
    """`removes`: names that go, in lower case; `lines`: what is added, complete lines each with its CR LF."""

    __slots__ = ("lines", "removes")

    def __init__(self, changes: Sequence[HeaderChanges]) -> None:
        """Join changes, in their order. Raises: ValueError for what could break the message."""
        removed = [name.lower() for change in changes for name in change.remove]
        added: list[tuple[str, str]] = []
        for change in changes:
            for name, value in change.set:
                removed.append(name.lower())
                added = [*(other for other in added if other[0] != name.lower()), (name.lower(), value)]
            added += [(name.lower(), value) for name, value in change.add]
        _check([*removed, *(name for name, _ in added)], [value for _, value in added])
        self.removes = frozenset(name.encode() for name in removed)
        self.lines = b"".join(b"%b: %b\r\n" % (name.encode(), value.strip().encode()) for name, value in added)

    def __bool__(self) -> bool:
        return bool(self.removes or self.lines)


def _check(names: Iterable[str], values: Iterable[str]) -> None:
    for name in names:
        if name in UNCHANGEABLE:
            raise ValueError(f"header '{name}' cannot be changed")
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not the name of a header that can be changed")
    for value in values:
        if any(character in value for character in _FORBIDDEN):
            raise ValueError(f"a header's value holds no line breaks: {value!r}")
