"""Patterns: regular expressions of operators, matched against what strangers send, in time linear in the text.

RE2 knows no backtracking; its memory and the size of what it compiles are bounded here, so that neither a pattern nor a
text can hang a proxy or fill it. There are no captures: a match is a yes or a no.
Source: RE2 syntax; Envoy `type.matcher.v3.RegexMatcher` (a full match; UTF-8, so that `.` is no stray byte).
"""

from collections.abc import Sequence
from typing import Any

import attrs
import re2

# Instructions that a pattern compiles to: with 100 KB of text, the worst of them takes half a second. Envoy's is 100.
PROGRAM_SIZE_MAX = 500
PATTERN_MEMORY_BYTES_MAX = 1024 * 1024
SET_MEMORY_BYTES_MAX = 8 * 1024 * 1024
# What a set has seen of a text is a combination of all its patterns' states: an opponent's text can need a new one at
# every byte, each worth a look at all patterns (1,000 of `/.*/x/.*` and 60 KB: 11 s). Alone each pattern has few states
# (the same: 0.15 s), so that only texts of usual size are matched with all together.
TOGETHER_BYTES_MAX = 256

# Matches whatever bytes there are. RE2 says of a set that ran out of memory what it says of one without a match; this
# member is missing only in the first case.
_ANYTHING = rb"\C*"


@attrs.frozen
class Pattern:
    """One regular expression, ready to match."""

    text: str
    _expression: Any  # re2 has no types

    def fullmatch(self, value: bytes) -> bool:
        """Does all of `value` match?"""
        matched: bool = self._expression.fullmatch(value) is not None
        return matched

    def search(self, value: bytes) -> bool:
        """Does some part of `value` match?"""
        found: bool = self._expression.search(value) is not None
        return found


def compile_pattern(text: str) -> Pattern:
    """Prepare a pattern. Raises: ValueError with the reason why RE2 cannot, or we will not, run it."""
    try:
        expression = re2.compile(text.encode(), options=_options(PATTERN_MEMORY_BYTES_MAX))
    except re2.error as error:
        raise ValueError(_reason(error)) from error
    if expression.programsize > PROGRAM_SIZE_MAX:
        raise ValueError(f"it compiles to {expression.programsize} steps, more than {PROGRAM_SIZE_MAX}")
    return Pattern(text, expression)


class PatternSet:
    """Many patterns, of which those that match a text are found in one pass over it, if it is not very long."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Prepare them. Raises: ValueError as `compile_pattern`."""
        self._patterns = [compile_pattern(text) for text in texts]
        self._sets = _compiled(self._patterns, 0) if texts else []

    def matching(self, value: bytes) -> list[int]:
        """Return the positions of those that match all of `value`, in order."""
        if len(value) > TOGETHER_BYTES_MAX:
            return [position for position, pattern in enumerate(self._patterns) if pattern.fullmatch(value)]
        found: list[int] = []
        for start, size, together in self._sets:
            matched = together.Match(value) or ()
            if size in matched:
                found += sorted(start + position for position in matched if position != size)
            else:
                alone = range(start, start + size)
                found += [position for position in alone if self._patterns[position].fullmatch(value)]
        return found


def _compiled(patterns: Sequence[Pattern], start: int) -> list[tuple[int, int, Any]]:
    """Return sets of consecutive patterns: the first position, how many, the set. As few as fit into memory."""
    together = re2.Set.FullMatchSet(_options(SET_MEMORY_BYTES_MAX))
    for pattern in patterns:
        together.Add(pattern.text.encode())
    together.Add(_ANYTHING)
    try:
        together.Compile()
    except re2.error:
        # A pattern of the permitted size fits alone, so that this ends.
        half = len(patterns) // 2
        return [*_compiled(patterns[:half], start), *_compiled(patterns[half:], start + half)]
    return [(start, len(patterns), together)]


def _options(memory_bytes_max: int) -> Any:
    options = re2.Options()
    options.max_mem = memory_bytes_max
    options.never_capture = True
    options.log_errors = False
    return options


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else "unknown"
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
