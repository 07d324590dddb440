"""Spans as operators write them: Go's notation (`1h30m`, `250ms`, `90us`), seconds inside.

Source: Go `time.ParseDuration`; a bare number is refused except `0`, since its unit would be a guess.
"""

import re

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names. Raises: ValueError with what is allowed."""
    body = text[1:] if text[:1] in "+-" else text
    if body == "0":
        return 0.0
    seconds, position = 0.0, 0
    while position < len(body):
        match = _PART.match(body, position)
        if match is None:
            break
        seconds += float(match[1]) * _UNIT_S[match[2]]
        position = match.end()
    if not body or position != len(body):
        raise ValueError(f"{text!r} is not a duration; write a number with a unit: 250us, 15ms, 2s, 1m30s, 1h")
    return -seconds if text[0] == "-" else seconds


def format_duration(seconds: float) -> str:
    """Write a span as Go prints it: `1m30s`, `250ms`, `0s`."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("us", 1_000), ("ms", 1_000_000)):
        if (nanoseconds < size * 1000 and unit != "ns") or nanoseconds < 1000:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}"
