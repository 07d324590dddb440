"""What the metrics of `expect` measure, over any stretches of a run.

A journey or request belongs to the moment at which it was meant to start. Outside faults it counts only if it also ended
before the next fault began. Quantiles are over everything that ended, failures too: leaving them out would flatter.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from sim.checks.evidence import Evidence
from sim.checks.intervals import Interval
from sim.scenario.expression import GAUGES, Metric
from sim.scenario.measured_place import parse_place
from sim.scenario.promises import Span
from sim.workload.observations import Arrival

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@attrs.frozen
class _Sample:
    start_s: float
    end_s: float
    latency_s: float
    ok: bool


class Measurements:
    """Answers metrics from the evidence of one run; keeps what it has sorted."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._samples: dict[str, tuple[list[float], list[_Sample]]] = {}
        self._tries: dict[str, tuple[list[float], list[int]]] = {}
        self._moments: dict[Metric, list[float]] = {}
        self._visits: list[float] = []  # when users' requests began, sorted

    def measure(
        self, metric: Metric, intervals: Sequence[Interval], span: Span, *, highest: bool = True
    ) -> float | None:
        """Return the value over the intervals, in seconds, shares, counts or per second; None with nothing to measure.

        `highest`: of a gauge its highest value, else the lowest.
        """
        if metric.name in GAUGES:
            return self._of_gauge(metric, intervals, highest=highest)
        if metric.name == "amplification":
            return self._amplification(metric, intervals)
        if metric.name == "count":
            return float(self.evidence.services.events[metric.subject])
        if metric.name in ("retries", "first-tries"):
            return self._count_tries(metric, intervals)
        if metric.name in _MOMENTS:
            return self._count_moments(metric, intervals)
        return self._of_samples(metric, intervals, span)

    def _of_samples(self, metric: Metric, intervals: Sequence[Interval], span: Span) -> float | None:
        starts, samples = self._samples_of(metric.subject)
        chosen: list[_Sample] = []
        for start_s, end_s in intervals:
            inside = samples[bisect_left(starts, start_s) : bisect_left(starts, end_s)]
            # After the last interval nothing begins any more: what drains there was not hurt by a fault.
            if span is Span.OUTSIDE_FAULTS and end_s < self.evidence.ended_s:
                inside = [sample for sample in inside if sample.end_s <= end_s]
            chosen += inside
        if metric.name in ("rate", "offered"):
            length_s = sum(end_s - start_s for start_s, end_s in intervals)
            count = sum(sample.ok for sample in chosen) if metric.name == "rate" else len(chosen)
            return count / length_s if length_s else None
        return _statistic(metric.name, chosen)

    def _samples_of(self, subject: str) -> tuple[list[float], list[_Sample]]:
        known = self._samples.get(subject)
        if known is None:
            samples = sorted(self._select(subject), key=lambda sample: sample.start_s)
            known = self._samples[subject] = ([sample.start_s for sample in samples], samples)
        return known

    def _select(self, subject: str) -> list[_Sample]:
        if "/" in subject:
            return [
                _Sample(v.start_s, v.end_s, v.end_s - v.start_s, 200 <= v.status < 400)
                for v in self.evidence.users.visits
                if v.request == subject
            ]
        workload, _, journey = subject.rpartition(".")
        return [
            _Sample(j.start_s, j.end_s, j.latency_s, j.ok)
            for j in self.evidence.users.journeys
            if subject == "*" or (j.journey == journey and workload in ("", j.workload))
        ]

    def _count_tries(self, metric: Metric, intervals: Sequence[Interval]) -> float:
        starts, tries = self._tries_of(metric.subject)
        requests = made = 0
        for start_s, end_s in intervals:
            first, last = bisect_left(starts, start_s), bisect_left(starts, end_s)
            requests += last - first
            made += sum(tries[first:last])
        return float(made - requests if metric.name == "retries" else requests)

    def _tries_of(self, subject: str) -> tuple[list[float], list[int]]:
        known = self._tries.get(subject)
        if known is None:
            by_service = self.evidence.tries.by_service
            names = list(by_service) if subject == "*" else [subject]
            rows = sorted(row for name in names for row in by_service.get(name, ()))
            known = self._tries[subject] = ([start for start, _ in rows], [count for _, count in rows])
        return known

    def _of_gauge(self, metric: Metric, intervals: Sequence[Interval], *, highest: bool) -> float | None:
        rows = self.evidence.gauges.get(metric, ())
        # What is seen at a moment was so before it: what happens in that very moment shows a second later.
        values = [value for start_s, end_s in intervals for at_s, value in rows if start_s < at_s <= end_s]
        return (max if highest else min)(values, default=None)

    def _amplification(self, metric: Metric, intervals: Sequence[Interval]) -> float | None:
        """Return how many tries were sent to a service (all services) for one request of a user."""
        tries = sum(self._count_tries(Metric(name, metric.subject), intervals) for name in ("retries", "first-tries"))
        starts = self._visits = self._visits or sorted(visit.start_s for visit in self.evidence.users.visits)
        visits = sum(bisect_left(starts, end_s) - bisect_left(starts, start_s) for start_s, end_s in intervals)
        return tries / visits if visits else None

    def _count_moments(self, metric: Metric, intervals: Sequence[Interval]) -> float:
        moments = self._moments.get(metric)
        if moments is None:
            moments = self._moments[metric] = sorted(_MOMENTS[metric.name](self.evidence, metric.subject))
        return float(sum(bisect_left(moments, end_s) - bisect_left(moments, start_s) for start_s, end_s in intervals))


def _served(evidence: Evidence, subject: str) -> Iterator[float]:
    return _arrived(evidence, evidence.services.arrivals, subject)


def _opened(evidence: Evidence, subject: str) -> Iterator[float]:
    return _arrived(evidence, evidence.services.connections, subject)


def _arrived(evidence: Evidence, arrivals: Mapping[Arrival, Sequence[float]], subject: str) -> Iterator[float]:
    place, origin_s = parse_place(subject), evidence.origin_s
    for arrival, moments in arrivals.items():
        if place.covers(*arrival):
            yield from (moment - origin_s for moment in moments)


def _answered(evidence: Evidence, subject: str) -> Iterator[float]:
    for status, moments in evidence.proxies.answers.items():
        if subject == str(status) or (subject[1:] == "xx" and status // 100 == int(subject[0])):
            yield from moments


def _flagged(evidence: Evidence, subject: str) -> Sequence[float]:
    return evidence.proxies.flags.get(subject, ())


def _shadow_denied(evidence: Evidence, subject: str) -> Iterator[float]:
    for service, moments in evidence.proxies.shadow_denials.items():
        if subject in ("*", service):
            yield from moments


# What counts moments: at which ones it happened.
_MOMENTS: Mapping[str, Callable[[Evidence, str], Iterable[float]]] = {
    "served": _served,
    "opened": _opened,
    "answers": _answered,
    "flagged": _flagged,
    "shadow-denied": _shadow_denied,
}


def _statistic(name: str, samples: list[_Sample]) -> float | None:
    if not samples:
        return None
    if name in ("success", "failures"):
        good = sum(sample.ok for sample in samples)
        return good / len(samples) if name == "success" else float(len(samples) - good)
    latencies = sorted(sample.latency_s for sample in samples)
    if name == "mean":
        return math.fsum(latencies) / len(latencies)
    return latencies[-1] if name == "max" else quantile(latencies, _QUANTILES[name])


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile: the least value that at least `share` of the values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]
