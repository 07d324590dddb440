"""Local rate limit: how many requests or connections an inbound takes in a span, on its own count. Pure.

Source: Envoy `extensions.filters.http.local_ratelimit.v3.LocalRateLimit`, source/extensions/filters/common/local_ratelimit.
"""

import attrs

from mesh.policy.authorization import PeerMatch
from mesh.policy.routing import HeaderChanges


@attrs.frozen(kw_only=True)
class Rate:
    """`count` in each `interval_s` seconds: a bucket of that many tokens, which fills again continuously."""

    count: int
    interval_s: float


@attrs.frozen(kw_only=True)
class RateLimit:
    """A rate of requests, and what is answered above it."""

    rate: Rate
    status: int = 429
    headers: HeaderChanges = HeaderChanges()


@attrs.frozen(kw_only=True)
class CallerRateLimit:
    """The limit of those callers that match; they share one bucket. `limit` None: they are not limited."""

    match: PeerMatch = PeerMatch()
    limit: RateLimit | None = None
