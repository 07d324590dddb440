"""How long a message is under way: distributions of one-way latency, in seconds.

A distribution says what it is; `sampler` prepares it for the hot path, where a draw must cost little.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

import attrs

from mesh.model.randomness import Random
from sim.clock import NS_PER_S

Sampler = Callable[[Random], int]  # draws one latency in nanoseconds

_POSITIVE = attrs.validators.gt(0.0)
_Z99 = NormalDist().inv_cdf(0.99)
_TABLE_SIZE = 1024
_TABLE_END = 0.98  # Above this the table would cut the tail; such draws are computed exactly.


class Latency(Protocol):
    """A distribution of one-way latency."""

    @property
    def nominal_s(self) -> float:
        """A typical value, for what needs no draw (acknowledgements, retransmission)."""
        ...

    def sampler(self) -> Sampler:
        """Prepare to draw."""
        ...


@attrs.frozen
class Constant:
    """Always the same."""

    seconds: float = attrs.field(validator=attrs.validators.ge(0.0))

    @property
    def nominal_s(self) -> float:
        """The value."""
        return self.seconds

    def sampler(self) -> Sampler:
        """Draw nothing."""
        ns = round(self.seconds * NS_PER_S)
        return lambda random: ns


@attrs.frozen(kw_only=True)
class LogNormal:
    """Log-normal, by its median and its 99th percentile."""

    p50_s: float = attrs.field(validator=_POSITIVE)
    p99_s: float = attrs.field(validator=_POSITIVE)

    def __attrs_post_init__(self) -> None:
        if self.p99_s < self.p50_s:
            raise ValueError("p99 must not be below p50")

    @property
    def nominal_s(self) -> float:
        """The median."""
        return self.p50_s

    def sampler(self) -> Sampler:
        """Draw by inversion."""
        return _log_normal_sampler(self.p50_s, self.p99_s)


@attrs.frozen(kw_only=True)
class Exponential:
    """Exponential, by its mean."""

    mean_s: float = attrs.field(validator=_POSITIVE)

    @property
    def nominal_s(self) -> float:
        """The mean."""
        return self.mean_s

    def sampler(self) -> Sampler:
        """Draw by inversion."""
        mean_ns = self.mean_s * NS_PER_S
        return lambda random: int(-mean_ns * math.log(1.0 - random.random()))


class Distribution(Protocol):
    """Any distribution of spans in seconds, such as those of a scenario file."""

    @property
    def mean_s(self) -> float: ...
    def draw(self, random: Random) -> float: ...


@attrs.frozen
class Drawn:
    """Whatever another distribution draws; slower than the ones above."""

    distribution: Distribution

    @property
    def nominal_s(self) -> float:
        """The mean."""
        return self.distribution.mean_s

    def sampler(self) -> Sampler:
        """Ask the distribution."""
        draw = self.distribution.draw
        return lambda random: max(0, round(draw(random) * NS_PER_S))


@lru_cache(maxsize=256)
def _log_normal_sampler(p50_s: float, p99_s: float) -> Sampler:
    sigma = math.log(p99_s / p50_s) / _Z99
    normal = NormalDist()

    def quantile_ns(u: float) -> int:
        return round(p50_s * math.exp(sigma * normal.inv_cdf(u)) * NS_PER_S)

    table = tuple(quantile_ns((index + 0.5) / _TABLE_SIZE) for index in range(_TABLE_SIZE))

    def sample(random: Random) -> int:
        u = random.random()
        return table[int(u * _TABLE_SIZE)] if u < _TABLE_END else quantile_ns(u)

    return sample
