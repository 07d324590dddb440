"""How many starts a rate that changes over time asks for, and when the n-th is due. Pure.

Arrivals are made by inversion: whatever the n-th start needs (n itself for constant arrivals, a sum of n exponential
draws for Poisson) is the area under the rate's curve up to its moment.
"""

import bisect
import math

import attrs

from sim.scenario.users import RateStage


@attrs.frozen
class _Piece:
    """From `start_s` on, the rate goes from `rate` by `slope` per second; `area` starts came before it."""

    start_s: float
    rate: float
    slope: float
    area: float


class RateCurve:
    """Piecewise linear; after the last stage its rate stays."""

    def __init__(self, stages: tuple[RateStage, ...]) -> None:
        now_s, rate, area = 0.0, 0.0, 0.0
        self._pieces: list[_Piece] = []
        for stage in stages:
            end = rate if stage.to is None else stage.to
            if stage.span_s:
                self._pieces.append(_Piece(now_s, rate, (end - rate) / stage.span_s, area))
                area += (rate + end) / 2 * stage.span_s
                now_s += stage.span_s
            rate = end
        self._pieces.append(_Piece(now_s, rate, 0.0, area))
        self._starts = [piece.start_s for piece in self._pieces]
        self._areas = [piece.area for piece in self._pieces]

    def rate_at(self, time_s: float) -> float:
        """Return starts per second at a moment from 0 on."""
        piece = self._pieces[bisect.bisect_right(self._starts, time_s) - 1]
        return piece.rate + piece.slope * (time_s - piece.start_s)

    def starts_until(self, time_s: float) -> float:
        """Return the area under the curve up to a moment."""
        piece = self._pieces[bisect.bisect_right(self._starts, time_s) - 1]
        span_s = time_s - piece.start_s
        return piece.area + piece.rate * span_s + piece.slope * span_s * span_s / 2

    def time_of(self, starts: float) -> float:
        """Return when the area reaches `starts` (above 0); inf when it never does."""
        # Pieces with no area (rate 0) share their area with the next: bisect_left finds the one that reaches it.
        piece = self._pieces[bisect.bisect_left(self._areas, starts) - 1]
        missing = starts - piece.area
        if not piece.slope:
            return piece.start_s + missing / piece.rate if piece.rate else math.inf
        # The stable root of slope/2 x^2 + rate x = missing; both terms of the denominator are positive or zero.
        root = math.sqrt(max(0.0, piece.rate * piece.rate + 2 * piece.slope * missing))
        return piece.start_s + 2 * missing / (piece.rate + root)
