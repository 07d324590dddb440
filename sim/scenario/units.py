"""Values with units, as scenario files write them: `60/s`, `0.2%`, `1Gbit`, `32KiB`. Pure.

Durations are `mesh.model.durations`. A bare number is refused wherever a unit would be a guess.
"""

import re

from mesh.model.durations import parse_duration

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_RATE = re.compile(_NUMBER + r"/(ms|s|m|h)\Z")
_PERCENT = re.compile(_NUMBER + r"%\Z")
_BANDWIDTH = re.compile(_NUMBER + r"(bit|kbit|Mbit|Gbit)(?:/s)?\Z")
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|kB|MB)\Z")

_SPAN_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BITS = {"bit": 1.0, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "kB": 1000, "MB": 1000**2}


def parse_rate(text: str) -> float:
    """Return events per second. Raises: ValueError with what is allowed."""
    match = _RATE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a rate; write a number per span: 60/s, 1200/m")
    return float(match[1]) / _SPAN_S[match[2]]


def parse_percent(text: str) -> float:
    """Return a share from 0 to 1. Raises: ValueError with what is allowed."""
    match = _PERCENT.match(text)
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a percentage; write 0% to 100%, for example 0.2%")
    return float(match[1]) / 100


def parse_change(text: str) -> float:
    """Return a percentage of any size and sign as a share. Raises: ValueError with what is allowed."""
    match = _PERCENT.match(text.removeprefix("-"))
    if match is None:
        raise ValueError(f"{text!r} is not a percentage; write one with its sign, for example 0.02% or -5%")
    return float(match[1]) / (-100 if text.startswith("-") else 100)


def parse_signed_span(text: str) -> float:
    """Return the seconds of a span of either sign. Raises: ValueError with what is allowed."""
    return -parse_span(text[1:]) if text.startswith("-") else parse_span(text)


def parse_bandwidth(text: str) -> float:
    """Return bytes per second. Raises: ValueError with what is allowed."""
    match = _BANDWIDTH.match(text)
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a bandwidth; write bits per second: 100kbit, 20Mbit, 1Gbit")
    return float(match[1]) * _BITS[match[2]] / 8


def parse_size(text: str) -> int:
    """Return bytes. Raises: ValueError with what is allowed."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write bytes with a unit: 512B, 4KiB, 1MiB")
    return int(match[1]) * _BYTES[match[2]]


def parse_span(text: str) -> float:
    """Return the seconds of a span that is not negative. Raises: ValueError with what is allowed."""
    seconds = parse_duration(text)
    if seconds < 0 or text[:1] in "+-":
        raise ValueError(f"{text!r} is not a span; write a duration without a sign: 250us, 15ms, 2s")
    return seconds
