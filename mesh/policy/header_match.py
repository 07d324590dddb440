"""Header matchers: does a message have the header that an operator asked for? Prepared once; a question is one lookup.

Source: Envoy source/common/http/header_utility.cc. A header that occurs more than once is compared as one list.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mesh.policy.patterns import compile_pattern
from mesh.policy.routing import HeaderMatch, ValueMatchKind


class Headers(Protocol):
    """The fields of a message: the heads of `mesh.protocol` fit."""

    def header(self, name_lower: bytes, /) -> bytes | None: ...


HeaderTest = Callable[[Headers], bool]


def header_test(match: HeaderMatch) -> HeaderTest:
    """Prepare one match. Raises: ValueError with the reason where its regular expression is refused."""
    name, value = match.name.encode("latin-1"), match.value.encode("latin-1", errors="replace")
    match match.kind:
        case ValueMatchKind.PRESENT:
            return lambda headers: headers.header(name) is not None
        case ValueMatchKind.ABSENT:
            return lambda headers: headers.header(name) is None
        case ValueMatchKind.EXACT:
            return lambda headers: headers.header(name) == value
        case ValueMatchKind.PREFIX:
            return lambda headers: (found := headers.header(name)) is not None and found.startswith(value)
        case ValueMatchKind.REGULAR_EXPRESSION:
            pattern = compile_pattern(match.value)
            return lambda headers: (found := headers.header(name)) is not None and pattern.fullmatch(found)


def any_matches(tests: Sequence[HeaderTest], headers: Headers) -> bool:
    """Does one of them match? No tests: no."""
    return any(test(headers) for test in tests)
