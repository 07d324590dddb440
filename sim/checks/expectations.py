"""Judges `expect`: over the whole time, or in the worst of its windows; says where it first broke and what was near."""

from collections.abc import Sequence

import attrs

from mesh.model.durations import format_duration
from sim.checks.evidence import Evidence, Verdict
from sim.checks.intervals import STEPS_PER_WINDOW, Interval, judged_intervals, windows
from sim.checks.measurements import Measurements
from sim.scenario.expression import RATE, SPAN, Comparison, Expression, Metric, Number, Operation, evaluate
from sim.scenario.promises import Expectation, Span

_PROBE_S = 10.0  # A broken promise without a window is searched for in windows of this length.


@attrs.frozen
class _Measured:
    """Both sides of the comparison over one stretch."""

    interval: Interval
    left: float
    right: float


def judge_expectation(name: str, promise: Expectation, evidence: Evidence, measurements: Measurements) -> Verdict:
    """Return what became of an expectation."""
    comparison = promise.comparison
    if promise.uncounted:
        detail = f"{comparison}: no endpoint counts {', '.join(promise.uncounted)}; add `counts: EVENT` to one"
        return Verdict(name=name, ok=True, value="not judged", detail=detail)
    intervals = judged_intervals(evidence, promise.when)
    if promise.when.span is Span.DURING and not intervals:
        detail = f"{comparison}: {promise.when.during} did not come before {format_moment(evidence.ended_s)}"
        return Verdict(name=name, ok=True, value="not judged", detail=detail)
    if promise.window_s is None:
        judged = [_measured(comparison, intervals, promise.when.span, measurements)]
    else:
        stretches = windows(intervals, promise.window_s)
        judged = [_measured(comparison, [stretch], promise.when.span, measurements) for stretch in stretches]
    measured = [entry for entry in judged if entry is not None]
    if not measured:
        return Verdict(name=name, ok=False, value="nothing", detail=f"{comparison}: there was nothing to judge")
    worst = min(measured, key=lambda entry: comparison.margin(entry.left, entry.right))
    ok = comparison.holds(worst.left, worst.right)
    detail = f"{comparison}" if ok else f"{comparison}{_blame(promise, evidence, measurements, measured)}"
    return Verdict(name=name, ok=ok, value=_value(comparison, worst), detail=detail)


def _measured(
    comparison: Comparison, intervals: Sequence[Interval], span: Span, measurements: Measurements
) -> _Measured | None:
    if not intervals:
        return None
    sides = [
        evaluate(side, lambda metric: measurements.measure(metric, intervals, span))
        for side in (comparison.left, comparison.right)
    ]
    left, right = sides
    if left is None or right is None:
        return None
    return _Measured(intervals[0], left, right)


def _blame(promise: Expectation, evidence: Evidence, measurements: Measurements, measured: Sequence[_Measured]) -> str:
    """Say when it first broke and what happened near that moment."""
    comparison = promise.comparison
    if promise.when.span is Span.AT_END:
        return ""
    if promise.window_s is None:
        stretches = windows(judged_intervals(evidence, promise.when), _PROBE_S)
        probed = [_measured(comparison, [stretch], promise.when.span, measurements) for stretch in stretches]
        measured = [entry for entry in probed if entry is not None]
    broken = [entry for entry in measured if not comparison.holds(entry.left, entry.right)]
    if not broken:
        return "; broken by the whole, in no 10s alone"
    first = min(broken, key=lambda entry: entry.interval)
    begin_s, end_s = first.interval
    # Windows overlap: what broke this one and not the one before lies in the part that is new.
    moment_s = begin_s if first is measured[0] else max(begin_s, end_s - (end_s - begin_s) / STEPS_PER_WINDOW)
    near = evidence.nearby(end_s)
    return f"; first broken at {format_moment(moment_s)}" + (f" ({near})" if near else "")


def _value(comparison: Comparison, measured: _Measured) -> str:
    """Write what was measured: the left side, and the right one where that was measured too."""
    left = format_value(measured.left, comparison.left)
    if isinstance(comparison.right, Number):
        return left
    return f"{left} against {format_value(measured.right, comparison.right)}"


def format_value(value: float, expression: Expression) -> str:
    """Write a value in its unit; shares as percentages when they are ratios, counts plainly."""
    if expression.dimension == SPAN:
        return format_rounded(value)
    if expression.dimension == RATE:
        return f"{value:.1f}/s"
    return f"{value:.2%}" if _is_ratio(expression) else f"{value:g}"


def _is_ratio(expression: Expression) -> bool:
    match expression:
        case Operation(symbol=symbol, left=left, right=right):
            return symbol == "/" or _is_ratio(left) or _is_ratio(right)
        case Metric(name=name):
            return name == "success"
        case Number():
            return False


def format_rounded(seconds: float) -> str:
    """Write a span with three digits, which is what a quantile is worth."""
    return format_duration(float(f"{seconds:.3g}"))


def format_moment(seconds: float) -> str:
    """Write a moment of the run: `5m03s`, `12.4s`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    if not minutes:
        return f"{rest:g}s"
    return f"{int(minutes)}m{rest:04.1f}s" if rest % 1 else f"{int(minutes)}m{int(rest):02d}s"
