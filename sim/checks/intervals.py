"""Which parts of a run a check looks at, as intervals of seconds: `[(start, end), ...]`, disjoint and in order."""

from sim.checks.evidence import Evidence
from sim.scenario.promises import Span, When

Interval = tuple[float, float]

STEPS_PER_WINDOW = 6  # Windows overlap, so that a bad stretch is not cut in two.


def judged_intervals(evidence: Evidence, when: When) -> list[Interval]:
    """Return the parts of the run that `when` names, without the warm-up (`at end` sees the whole run)."""
    start_s, end_s = evidence.scenario.warmup_s, evidence.ended_s
    match when.span:
        case Span.AT_END:
            return [(0.0, end_s)]
        case Span.ALWAYS:
            return _clipped([(start_s, end_s)], start_s, end_s)
        case Span.DURING:
            spans = [(o.start_s, o.end_s) for o in evidence.occurrences if o.goes_by(when.during)]
            return _clipped(_merged(spans), start_s, end_s)
        case Span.AFTER:
            ends = [o.end_s for o in evidence.occurrences if o.goes_by(when.during)]
            return _clipped([(max(ends) + when.grace_s, end_s)] if ends else [], start_s, end_s)
        case Span.BETWEEN:
            return _clipped([when.between_s], start_s, end_s)
        case Span.OUTSIDE_FAULTS:
            return _clipped(_gaps(merged_faults(evidence, grace_s=when.grace_s), start_s, end_s), start_s, end_s)


def merged_faults(evidence: Evidence, *, grace_s: float = 0.0) -> list[Interval]:
    """Return the time in which any fault was active, each prolonged by `grace_s`."""
    return _merged([(o.start_s, o.end_s + grace_s) for o in evidence.faults()])


def windows(intervals: list[Interval], window_s: float) -> list[Interval]:
    """Return overlapping windows inside the intervals; an interval that is shorter is a window itself."""
    found: list[Interval] = []
    for start_s, end_s in intervals:
        last_s = end_s - window_s
        if last_s <= start_s:
            found.append((start_s, end_s))
            continue
        steps = int((last_s - start_s) / window_s * STEPS_PER_WINDOW)
        found += [
            (start, start + window_s)
            for n in range(steps + 1)
            for start in (start_s + n * window_s / STEPS_PER_WINDOW,)
        ]
        found.append((last_s, end_s))
    return found


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start_s, end_s in sorted(intervals):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end_s, merged[-1][1]))
        else:
            merged.append((start_s, end_s))
    return merged


def _gaps(intervals: list[Interval], start_s: float, end_s: float) -> list[Interval]:
    gaps = []
    for fault_start, fault_end in intervals:
        gaps.append((start_s, fault_start))
        start_s = max(start_s, fault_end)
    return [*gaps, (start_s, end_s)]


def _clipped(intervals: list[Interval], start_s: float, end_s: float) -> list[Interval]:
    clipped = [(max(a, start_s), min(b, end_s)) for a, b in intervals]
    return [(a, b) for a, b in clipped if a < b]
