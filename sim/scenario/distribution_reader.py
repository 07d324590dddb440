"""Reads spans drawn by chance: `2ms`, `{mean: 2ms}`, `{p50: 6ms, p99: 40ms}`, `{histogram: spans.csv}`."""

from pathlib import Path, PurePath

from sim.scenario.distributions import Constant, Distribution, Exponential, Histogram, LogNormal
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys
from sim.scenario.units import parse_span

_LINES_MAX = 10_000


def read_distribution(cursor: Cursor, folder: PurePath) -> Distribution:
    """Read one; `folder` is what files are relative to."""
    if not isinstance(cursor.value, dict):
        return Constant(cursor.span())
    entries = cursor.mapping(keys("drawn"))
    match tuple(sorted(entries)):
        case ("mean",):
            return Exponential(entries["mean"].span(positive=True))
        case ("p50", "p99"):
            p50_s, p99_s = entries["p50"].span(positive=True), entries["p99"].span(positive=True)
            if p99_s < p50_s:
                entries["p99"].refuse("must not be below p50")
                p99_s = p50_s
            return LogNormal(p50_s, p99_s)
        case ("histogram",):
            return _read_histogram(entries["histogram"], folder)
    cursor.refuse("must be a span, {mean}, {p50, p99} or {histogram: file.csv}")
    return Constant(0.0)


def _read_histogram(cursor: Cursor, folder: PurePath) -> Distribution:
    bins = []
    for number, line in enumerate(read_lines(cursor, folder), start=1):
        span, _, weight = line.partition(",")
        try:
            bins.append((parse_span(span.strip()), float(weight)))
        except ValueError:
            cursor.refuse(f"line {number} of {cursor.value} is not `span,weight`: {line!r}", "for example 2ms,30")
            return Constant(0.0)
        if not 0 <= bins[-1][1] < float("inf"):
            cursor.refuse(f"line {number} of {cursor.value} has a weight below 0")
            return Constant(0.0)
    if not sum(weight for _, weight in bins):
        return Constant(0.0)
    return Histogram(tuple(bins))


def read_lines(cursor: Cursor, folder: PurePath) -> list[str]:
    """Return the lines of the file that is named here, without comments and blank ones; none if it cannot be read."""
    name = cursor.text()
    if not name:
        return []
    try:
        text = Path(folder, name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        cursor.refuse(f"cannot read '{name}': {reason}")
        return []
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or len(lines) > _LINES_MAX:
        cursor.refuse(f"'{name}' must have 1 to {_LINES_MAX} lines, not {len(lines)}")
        return []
    return lines
