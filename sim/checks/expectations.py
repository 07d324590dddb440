"""Judges `expect`: over the whole time, or in the worst of its windows; says where it first broke and what was near."""

from collections.abc import Sequence

import attrs

from sim.checks.blame import blame
from sim.checks.evidence import Evidence, Verdict
from sim.checks.intervals import STEPS_PER_WINDOW, Interval, judged_intervals, windows
from sim.checks.measurements import Measurements
from sim.checks.suspects import Suspect
from sim.checks.wording import format_moment, format_value
from sim.scenario.expression import METRICS, SPAN, Comparison, Number, evaluate
from sim.scenario.promises import Expectation, Span
from sim.scenario.users import Visit

_PROBE_S = 10.0  # A broken promise without a window is searched for in windows of this length.
_ONCE_GONE = (Span.DURING, Span.AFTER)


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
    if promise.when.span in _ONCE_GONE and not intervals:
        detail = f"{comparison}: {promise.when.during} did not come before {format_moment(evidence.ended_s)}"
        return Verdict(name=name, ok=True, value="not judged", detail=detail)
    stretches = [intervals] if promise.window_s is None else [[one] for one in windows(intervals, promise.window_s)]
    judged = [_measured(comparison, stretch, promise.when.span, measurements) for stretch in stretches]
    measured = [entry for entry in judged if entry is not None]
    if not measured:
        return Verdict(name=name, ok=False, value="nothing", detail=f"{comparison}: there was nothing to judge")
    worst = min(measured, key=lambda entry: comparison.margin(entry.left, entry.right))
    ok = comparison.holds(worst.left, worst.right)
    verdict = Verdict(name=name, ok=ok, value=_value(comparison, worst), detail=f"{comparison}")
    return verdict if ok else _blamed(verdict, promise, evidence, measurements, measured)


def _measured(
    comparison: Comparison, intervals: Sequence[Interval], span: Span, measurements: Measurements
) -> _Measured | None:
    if not intervals:
        return None
    # A gauge stands at many values in a stretch: the one that the comparison likes least counts.
    wants_less = comparison.symbol in ("<", "<=", "==", "!=")
    left = evaluate(comparison.left, lambda m: measurements.measure(m, intervals, span, highest=wants_less))
    right = evaluate(comparison.right, lambda m: measurements.measure(m, intervals, span, highest=not wants_less))
    if left is None or right is None:
        return None
    return _Measured(intervals[0], left, right)


def _blamed(
    verdict: Verdict,
    promise: Expectation,
    evidence: Evidence,
    measurements: Measurements,
    measured: Sequence[_Measured],
) -> Verdict:
    """Add when it first broke, what happened near that moment, and which requests were concerned."""
    comparison = promise.comparison
    if promise.window_s is None:
        stretches = windows(judged_intervals(evidence, promise.when), _PROBE_S)
        probed = [_measured(comparison, [stretch], promise.when.span, measurements) for stretch in stretches]
        measured = [entry for entry in probed if entry is not None]
    counted = any(metric.name == "count" for metric in comparison.metrics())
    broken = [] if counted else [entry for entry in measured if not comparison.holds(entry.left, entry.right)]
    if not broken:
        # Counts are known at the end only, and some promises are broken by the whole alone.
        found = _suspects(comparison, evidence, (evidence.scenario.warmup_s, evidence.ended_s))
        detail = verdict.detail if counted else f"{verdict.detail}; broken by the whole, in no {_PROBE_S:g}s alone"
        first_s = found[0].at_s if found else evidence.ended_s
        return blame(attrs.evolve(verdict, detail=detail), evidence, first_s, suspects=found, told=False)
    first = min(broken, key=lambda entry: entry.interval)
    begin_s, end_s = first.interval
    # Windows overlap: what broke this one and not the one before lies in the part that is new.
    moment_s = begin_s if first is measured[0] else max(begin_s, end_s - (end_s - begin_s) / STEPS_PER_WINDOW)
    found = _suspects(comparison, evidence, first.interval)
    return blame(verdict, evidence, moment_s, end_s=end_s, suspects=found)


def _suspects(comparison: Comparison, evidence: Evidence, interval: Interval) -> tuple[Suspect, ...]:
    """Return the requests of a stretch to look at: slow ones for a promise about time, else failed ones; users' first."""
    services = [
        s.name for s in evidence.scenario.services if any(_names(m.subject, s.name) for m in comparison.metrics())
    ]
    slow = comparison.left.dimension == SPAN
    visits = _visits(comparison, evidence)
    if visits:
        # What users themselves sent says more than what became of it further behind.
        found = evidence.suspects.between(*interval, slow=slow, concerned=lambda s: _is_one_of(s, visits))
        if found:
            return tuple(found)
    found = evidence.suspects.between(*interval, slow=slow, services=services)
    return tuple(found or evidence.suspects.between(*interval, slow=slow))


def _visits(comparison: Comparison, evidence: Evidence) -> tuple[tuple[str, str, str], ...]:
    """Return what the users of the journeys that a promise names ask for: (workload, service, METHOD /path)."""
    journeys = {metric.subject for metric in comparison.metrics() if METRICS[metric.name][1] == "journey"}
    return tuple(
        (workload.name, step.operation.service, f"{step.operation.verb} {step.operation.path}")
        for workload in evidence.scenario.workloads
        for journey in workload.journeys
        if journey.name in journeys
        for step in journey.steps
        if isinstance(step, Visit)
    )


def _is_one_of(suspect: Suspect, visits: tuple[tuple[str, str, str], ...]) -> bool:
    asked = suspect.what.partition("?")[0]
    return any(
        suspect.caller.startswith(f"{workload}-") and suspect.service == service and asked == operation
        for workload, service, operation in visits
    )


def _names(subject: str, service: str) -> bool:
    """Is a subject, as `web`, `web-1`, `web GET /` or `GET web/`, about a service?"""
    words = subject.replace("/", " ").split()
    return any(word == service or word.rpartition("-")[0] == service for word in words)


def _value(comparison: Comparison, measured: _Measured) -> str:
    """Write what was measured: the left side, and the right one where that was measured too."""
    left = format_value(measured.left, comparison.left)
    if isinstance(comparison.right, Number):
        return left
    return f"{left} against {format_value(measured.right, comparison.right)}"
