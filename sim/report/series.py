"""Time series of a run in bins: what users asked for and got, what the mesh tried, and how long answers took. Pure."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import attrs

from sim.checks.evidence import Evidence
from sim.checks.inspection import Seen
from sim.checks.measurements import quantile

BINS_MAX = 600
_BINS_MIN = 120
_EVENTS_PER_BIN = 40  # so that a quantile of a bin means something
_BIN_S = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_HEAT_PER_DECADE = 8
_HEAT_LEAST_S = 1e-4


@attrs.frozen
class Bins:
    """Equal stretches of a run, from 0."""

    width_s: float
    count: int

    @classmethod
    def of(cls, duration_s: float, events: int) -> "Bins":
        """Choose bins of a round length, at most BINS_MAX of them, in which some of the events fall."""
        wanted = min(BINS_MAX, max(_BINS_MIN, events // _EVENTS_PER_BIN))
        width_s = next((width for width in _BIN_S if duration_s / width <= wanted), duration_s / wanted)
        return cls(width_s, max(1, math.ceil(duration_s / width_s - 1e-9)))

    def place(self, moment_s: float) -> int | None:
        """Return the bin of a moment; None outside."""
        place = int(moment_s // self.width_s)
        return place if 0 <= place < self.count else None


def user_series(evidence: Evidence, bins: Bins) -> dict[str, Any]:
    """Return per bin, by intended starts: requests offered and good, quantiles in ms, and the heat map's cells."""
    offered, good = [0] * bins.count, [0] * bins.count
    latencies: list[list[float]] = [[] for _ in range(bins.count)]
    for visit in evidence.users.visits:
        place = bins.place(visit.start_s)
        if place is None:
            continue
        offered[place] += 1
        good[place] += 200 <= visit.status < 400
        latencies[place].append(visit.end_s - visit.start_s)
    for row in latencies:
        row.sort()
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        "offered": offered,
        "good": good,
        **{name: [_ms(quantile(row, share)) if row else None for row in latencies] for name, share in shares.items()},
        "heat": _heat(latencies),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000.0, 3)


def _heat(latencies: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return `{edges: bounds in ms, cells: [[bin, row, count]]}`, rows from fast to slow on a logarithmic scale."""
    slowest = max((row[-1] for row in latencies if row), default=1.0)
    fastest = max(min((row[0] for row in latencies if row), default=0.001), _HEAT_LEAST_S)
    first = math.floor(math.log10(fastest) * _HEAT_PER_DECADE)
    last = math.ceil(math.log10(max(slowest, fastest * 1.01)) * _HEAT_PER_DECADE)
    bounds = [10 ** (step / _HEAT_PER_DECADE) for step in range(first, last + 1)]
    cells = []
    for place, row in enumerate(latencies):
        counts: dict[int, int] = {}
        for latency_s in row:
            level = min(max(bisect_right(bounds, latency_s) - 1, 0), len(bounds) - 2)
            counts[level] = counts.get(level, 0) + 1
        cells += [[place, level, count] for level, count in sorted(counts.items())]
    return {"edges": [_ms(bound) for bound in bounds], "cells": cells}


def mesh_series(evidence: Evidence, bins: Bins) -> dict[str, Any]:
    """Return per bin the requests between services and the tries they took."""
    requests, tries = [0] * bins.count, [0] * bins.count
    for rows in evidence.tries.by_service.values():
        for start_s, count in rows:
            place = bins.place(start_s)
            if place is not None:
                requests[place] += 1
                tries[place] += count
    return {"requests": requests, "tries": tries}


def edge_rows(seen: Iterable[Seen], bins: Bins, *, origin_s: float, weight: int) -> list[dict[str, Any]]:
    """Return one row for each caller and service, with counts per bin; `weight` is of how many requests one was kept."""
    rows: dict[tuple[str, str], _Edge] = {}
    for one in seen:
        record = one.record
        if record.inbound or not record.cluster:
            continue
        key = (one.workload, record.cluster.rpartition("_")[0])
        edge = rows.get(key)
        if edge is None:
            edge = rows[key] = _Edge(*key, bins)
        edge.add(one, bins, origin_s)
    return [edge.row(weight) for _, edge in sorted(rows.items())]


class _Edge:
    def __init__(self, caller: str, service: str, bins: Bins) -> None:
        self.caller = caller
        self.service = service
        self.connections = self.requests = self.bad = self.tries = 0
        self.flags: dict[str, int] = {}
        self.latencies: list[float] = []
        self.by_bin: list[list[float]] = [[] for _ in range(bins.count)]
        self.bad_by_bin = [0] * bins.count
        self.tries_by_bin = [0] * bins.count

    def add(self, one: Seen, bins: Bins, origin_s: float) -> None:
        record = one.record
        for flag in record.flags:
            self.flags[flag.value] = self.flags.get(flag.value, 0) + 1
        if not record.method:
            self.connections += 1
            return
        bad = record.status >= 500 or record.status == 0
        latency_s = record.ended_at - record.started_at
        self.requests += 1
        self.bad += bad
        self.tries += record.tries
        self.latencies.append(latency_s)
        place = bins.place(record.started_at - origin_s)
        if place is not None:
            self.by_bin[place].append(latency_s)
            self.bad_by_bin[place] += bad
            self.tries_by_bin[place] += record.tries

    def row(self, weight: int) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        return {
            "caller": self.caller,
            "service": self.service,
            "connections": self.connections * weight,
            "requests": self.requests * weight,
            "bad": self.bad * weight,
            "tries": self.tries * weight,
            "flags": {flag: count * weight for flag, count in sorted(self.flags.items())},
            **{name: _ms(quantile(ordered, share)) if ordered else None for name, share in quantiles.items()},
            "count": [len(row) * weight for row in self.by_bin],
            "badAt": [count * weight for count in self.bad_by_bin],
            "triesAt": [count * weight for count in self.tries_by_bin],
            "p99At": [_ms(quantile(sorted(row), 0.99)) if row else None for row in self.by_bin],
        }


def steps(changes: Iterable[tuple[float, int]], *, end_s: float) -> list[list[float]]:
    """Return `[from, to, level]` of a level that changes by some amount at some moments, from 0 on."""
    level, level_by_moment = 0, {0.0: 0}
    for at_s, change in sorted(changes):
        level += change
        level_by_moment[max(at_s, 0.0)] = level
    moments = [*level_by_moment.items(), (end_s, 0)]
    return [[start_s, stop_s, level] for (start_s, level), (stop_s, _) in pairwise(moments) if stop_s > start_s]
