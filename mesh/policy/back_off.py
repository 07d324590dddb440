"""Back-off: how long to wait before another try. Pure: chance is an argument, the caller waits.

Source: Envoy source/common/common/backoff_strategy.cc, source/common/router/{retry_state_impl,reset_header_parser}.cc.
"""

import enum
import math

import attrs

from mesh.model.randomness import Random
from mesh.policy.header_match import Headers
from mesh.policy.header_value import unsigned


class ExponentialBackOff:
    """Full jitter: drawn from [0, interval), which doubles up to the longest. Envoy's code; its documentation differs."""

    __slots__ = ("_interval_s", "_interval_s_max")

    def __init__(self, base_s: float, interval_s_max: float) -> None:
        """A longest interval that is shorter than the first is taken for the first."""
        self._interval_s = base_s
        self._interval_s_max = interval_s_max if interval_s_max > base_s else base_s

    def next_s(self, random: Random) -> float:
        """Return how long to wait this time."""
        interval_s = self._interval_s
        self._interval_s = min(2.0 * interval_s, self._interval_s_max)
        return random.random() * interval_s


class ResetHeaderFormat(enum.Enum):
    """What a header that says when to come back holds. Kuma's words."""

    SECONDS = "Seconds"
    UNIX_TIMESTAMP = "UnixTimestamp"


@attrs.frozen(kw_only=True)
class ResetHeader:
    """A response header that says when to come back; its name in lower case."""

    name: str
    format: ResetHeaderFormat


@attrs.frozen(kw_only=True)
class RateLimitedBackOff:
    """Back off for as long as the first of these headers says, if that is not above `interval_s_max`.

    A header that is absent, no whole number, in the past, zero or beyond the longest is passed over; where all are, the
    exponential back-off goes on.
    """

    reset_headers: tuple[ResetHeader, ...]
    interval_s_max: float = 300.0


class ResetHeaders:
    """A `RateLimitedBackOff` prepared for the request path."""

    __slots__ = ("_headers", "_interval_s_max")

    def __init__(self, config: RateLimitedBackOff) -> None:
        self._headers = [(header.name.encode("latin-1"), header.format) for header in config.reset_headers]
        self._interval_s_max = config.interval_s_max

    def delay_s(self, response: Headers, *, wall_clock_s: float, random: Random) -> float | None:
        """Draw from [interval, 1.5 intervals) where the response gives one: all its clients shall not return at once.

        `wall_clock_s` are seconds since the epoch.
        """
        for name, format_ in self._headers:
            seconds = unsigned(response.header(name))
            if seconds is None:
                continue
            interval_s = seconds if format_ is ResetHeaderFormat.SECONDS else seconds - math.floor(wall_clock_s)
            if 0 < interval_s <= self._interval_s_max:
                return interval_s * (1.0 + 0.5 * random.random())
        return None
