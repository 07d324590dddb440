"""Spans drawn by chance: service times, think times, link latencies. Pure: chance is an argument.

The form in a file says the family: `2ms` is constant, `{mean}` exponential, `{p50, p99}` log-normal,
`{histogram: file.csv}` the spans of a file by their weights.
"""

import bisect
import itertools
import math
from typing import Protocol

import attrs

from mesh.model.randomness import Random

# The 99th percentile of the standard normal distribution.
_Z99 = 2.3263478740408408


class Distribution(Protocol):
    """Something that spans are drawn from, in seconds."""

    @property
    def mean_s(self) -> float: ...
    def draw(self, random: Random) -> float: ...


@attrs.frozen
class Constant:
    """Always the same span."""

    seconds: float

    @property
    def mean_s(self) -> float:
        return self.seconds

    def draw(self, random: Random) -> float:
        return self.seconds


@attrs.frozen
class Exponential:
    """Memoryless spans with a mean."""

    mean_s: float

    def draw(self, random: Random) -> float:
        return random.expovariate(1.0) * self.mean_s


@attrs.frozen
class LogNormal:
    """Spans with a long tail, given by their median and 99th percentile."""

    p50_s: float
    p99_s: float
    _mu: float = attrs.field(init=False, eq=False, repr=False)
    _sigma: float = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_mu", math.log(self.p50_s))
        object.__setattr__(self, "_sigma", math.log(self.p99_s / self.p50_s) / _Z99)

    @property
    def mean_s(self) -> float:
        return math.exp(self._mu + self._sigma**2 / 2)

    def draw(self, random: Random) -> float:
        return random.lognormvariate(self._mu, self._sigma)


@attrs.frozen
class Histogram:
    """Spans by weight: `((seconds, weight), ...)`, at least one of them with a weight above 0."""

    bins: tuple[tuple[float, float], ...]
    _upper: tuple[float, ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_upper", tuple(itertools.accumulate(weight for _, weight in self.bins)))

    @property
    def mean_s(self) -> float:
        return sum(seconds * weight for seconds, weight in self.bins) / self._upper[-1]

    def draw(self, random: Random) -> float:
        place = bisect.bisect_right(self._upper, random.random() * self._upper[-1])
        return self.bins[min(place, len(self.bins) - 1)][0]
