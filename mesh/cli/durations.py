"""Durations as options: `30s`, `24h`."""

from mesh.model.durations import format_duration, parse_duration
from mesh.model.errors import ConfigError, Violation


def read_duration(text: str, *, option: str, min_s: float = 0.0, max_s: float = float("inf")) -> float:
    """Return the seconds. Raises: ConfigError naming the option; a span is not negative, and within the bounds."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError([Violation(path=option, message=str(error))]) from error
    if seconds < 0:
        raise ConfigError([Violation(path=option, message=f"{text!r} is negative")])
    if seconds < min_s:
        hint = f"write at least {format_duration(min_s)}"
        raise ConfigError([Violation(path=option, message=f"{text!r} is too short", hint=hint)])
    if seconds > max_s:
        hint = f"write at most {format_duration(max_s)}"
        raise ConfigError([Violation(path=option, message=f"{text!r} is too long", hint=hint)])
    return seconds
