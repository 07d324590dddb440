"""When the journeys of one workload in one zone are meant to start: along a rate curve, or from a trace. Pure."""

import math
from collections.abc import Sequence
from typing import Protocol

from mesh.model.randomness import Random
from sim.scenario.users import Arrivals, OpenModel
from sim.workload.rate_curve import RateCurve


class Starts(Protocol):
    """Moments in seconds from the beginning of the load, one after the other."""

    def next(self) -> float:
        """Return the next start; inf when there are no more."""
        ...


class CurveStarts:
    """Starts along a rate curve, of which `share` belongs here, from a moment on; `random` None: evenly."""

    def __init__(self, curve: RateCurve, share: float, random: Random | None, *, from_s: float = 0.0) -> None:
        self._curve = curve
        self._share = share
        self._random = random
        # Even starts begin half a step in: a start at 0 would belong to no rate yet.
        self._area = 0.0 if random is not None else -0.5
        if from_s:
            self._area += curve.starts_until(from_s) * share

    def next(self) -> float:
        self._area += 1.0 if self._random is None else self._random.expovariate(1.0)
        return self._curve.time_of(self._area / self._share)


class TraceStarts:
    """Starts from a file: every zone walks the whole trace and keeps its share of it."""

    def __init__(self, trace_s: Sequence[float], share: float, random: Random) -> None:
        self._left = iter(trace_s)
        self._share = share
        self._random = random

    def next(self) -> float:
        for start_s in self._left:
            if self._random.random() < self._share:
                return start_s
        return math.inf


def make_starts(model: OpenModel, share: float, random: Random) -> Starts:
    """Return the starts of an open workload of which `share` (above 0 to 1) belongs here."""
    if model.trace_s is not None:
        return TraceStarts(model.trace_s, share, random)
    return CurveStarts(RateCurve(model.stages), share, random if model.arrivals is Arrivals.POISSON else None)


def make_more_starts(model: OpenModel, share: float, random: Random, *, from_s: float) -> Starts:
    """Return further starts beside those of `make_starts`, from a moment on: `share` (above 0) of what the model asks for."""
    if model.trace_s is not None:
        whole, part = divmod(share, 1.0)
        later = [start_s for start_s in model.trace_s if start_s >= from_s]
        return TraceStarts(
            [start_s for start_s in later for _ in range(int(whole) + (random.random() < part))], 1.0, random
        )
    arriving = random if model.arrivals is Arrivals.POISSON else None
    return CurveStarts(RateCurve(model.stages), share, arriving, from_s=from_s)
