"""What an unquoted YAML scalar means: true, false, null, a decimal number or text, and nothing else.

What YAML 1.1, YAML 1.2 and people read differently (`on`, `no`, `1:30`, `0123`, `1_000`, dates) is a trap: refused with
what to write instead, not guessed. Source: yaml.org type repository (bool, int, float, timestamp) against YAML 1.2.2, 10.3.
"""

import math
import re

_DIGITS_MAX = 40  # A longer number is not a setting.

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")
_CONSTANT: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_BOOLEAN_TRAPS = {
    spelling: meaning
    for word, meaning in (
        ("y", "true"),
        ("yes", "true"),
        ("on", "true"),
        ("n", "false"),
        ("no", "false"),
        ("off", "false"),
    )
    for spelling in (word, word.capitalize(), word.upper())
}
# (spelling, what it may be taken for, what to write for what was probably meant)
_TRAPS = (
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z"), "a base 60 number", "a span as 90s or 1m30s"),
    (re.compile(r"[-+]?0[0-9_]+\Z"), "an octal number", "a number without the leading zero"),
    (re.compile(r"[-+]?0[obx][0-9a-fA-F_]+\Z"), "an octal, binary or hexadecimal number", "a number in decimal"),
    (re.compile(r"[-+]?[0-9]+(_[0-9_]*)(\.[0-9_]*)?\Z"), "a number with underscores", "a number without underscores"),
    (re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?\Z"), "a date", ""),
    (re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"), "infinity or not a number", "a finite number"),
)


class ScalarTrap(Exception):
    """The operator's: an unquoted scalar that could mean two things. `hint` says what to write; `text` may stand for it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def resolve_plain(text: str) -> str | int | float | bool | None:
    """Return what an unquoted scalar means. Raises: ScalarTrap."""
    if text in _CONSTANT:
        return _CONSTANT[text]
    if text in _BOOLEAN_TRAPS:
        meaning = _BOOLEAN_TRAPS[text]
        raise ScalarTrap(
            f"{text} would be {meaning} to some YAML readers", hint=f'write {meaning}, or "{text}" for the text'
        )
    if text[0] not in "+-.0123456789":
        return text
    for pattern, meaning, instead in _TRAPS:
        if pattern.match(text):
            quoted = f'"{text}" for the text'
            hint = f"write {instead}, or {quoted}" if instead else f"write {quoted}"
            raise ScalarTrap(f"{text} would be {meaning} to some YAML readers", hint=hint)
    if not _INTEGER.match(text) and not _FLOAT.match(text):
        return text
    return _number(text)


def _number(text: str) -> int | float:
    if len(text) > _DIGITS_MAX:
        raise ScalarTrap(f"a number of {len(text)} characters", hint=f"write at most {_DIGITS_MAX}, or quote the text")
    number = int(text) if _INTEGER.match(text) else float(text)
    if not math.isfinite(number):
        raise ScalarTrap(f"{text} is too large", hint="write a smaller number, or quote the text")
    return number
