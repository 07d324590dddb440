"""Local rate limit: how many requests or connections an inbound takes in a span, on its own count. Pure.

Source: Envoy `extensions.filters.http.local_ratelimit.v3.LocalRateLimit`, `extensions.filters.network.local_ratelimit.v3`,
source/common/common/token_bucket_impl.h (tokens come back continuously). Kuma MeshRateLimit makes one bucket of each entry
of an inbound (one filter configuration per matched route), which all callers that it means share.
"""

import attrs

from mesh.policy.authorization import PeerMatch
from mesh.policy.callers import CallerTable
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


class TokenBucket:
    """Tokens that come back at a steady rate, up to a full bucket; it begins full."""

    __slots__ = ("_filled_at", "_tokens", "_tokens_max", "_tokens_per_s", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._tokens_per_s = rate.count / rate.interval_s
        self._tokens = self._tokens_max = float(rate.count)
        self._filled_at = 0.0

    def take(self, now: float) -> bool:
        """Take one token; False when there is none. `now` in seconds of any clock that does not go back."""
        tokens = self._tokens + (now - self._filled_at) * self._tokens_per_s
        if tokens > self._tokens_max:
            tokens = self._tokens_max
        self._filled_at = now
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


def bucket_for(rate: Rate, previous: TokenBucket | None) -> TokenBucket:
    """Return the bucket of a rate: the previous one, as full as it is, where it has this very rate."""
    return previous if previous is not None and previous.rate == rate else TokenBucket(rate)


@attrs.define(eq=False)
class RateLimitCounts:
    """What a limiter did. Envoy's `http_local_rate_limit.{enabled,ok,rate_limited,enforced}`; of connections only two count."""

    ok: int = 0
    rate_limited: int = 0

    @property
    def enabled(self) -> int:
        """How often it was asked about a caller that has a limit."""
        return self.ok + self.rate_limited

    @property
    def enforced(self) -> int:
        """How often it refused: whenever the limit was reached, since there is no dry run."""
        return self.rate_limited


class RateLimiter:
    """The limits of one inbound: the first entry that matches a caller counts. Made anew when they change."""

    __slots__ = ("_buckets", "_callers", "counts")

    def __init__(self, limits: tuple[CallerRateLimit, ...], previous: "RateLimiter | None" = None) -> None:
        """`previous`: the limiter that this one replaces; its counts go on, and its buckets where their rate has not changed."""
        kept = {} if previous is None else previous._buckets
        self.counts: RateLimitCounts = RateLimitCounts() if previous is None else previous.counts
        self._buckets: dict[PeerMatch, TokenBucket] = {}
        entries: list[tuple[PeerMatch, tuple[RateLimit, TokenBucket] | None]] = []
        for entry in limits:
            if entry.limit is None:
                entries.append((entry.match, None))
                continue
            bucket = bucket_for(entry.limit.rate, kept.get(entry.match))
            self._buckets[entry.match] = bucket
            entries.append((entry.match, (entry.limit, bucket)))
        self._callers = CallerTable(entries)

    def admit(self, spiffe_id: str, sni: str, now: float) -> RateLimit | None:
        """Take a token for a caller's request (see CallerTable). None: it may go on; else the limit that it is over."""
        found = self._callers.of(spiffe_id, sni)
        if not found or found[0] is None:
            return None
        limit, bucket = found[0]
        if bucket.take(now):
            self.counts.ok += 1
            return None
        self.counts.rate_limited += 1
        return limit


class ConnectionLimiter:
    """The rate at which one inbound takes connections, whoever opens them."""

    __slots__ = ("_bucket", "counts")

    def __init__(self, rate: Rate, previous: "ConnectionLimiter | None" = None) -> None:
        """`previous`: as of RateLimiter."""
        self._bucket: TokenBucket = bucket_for(rate, None if previous is None else previous._bucket)
        self.counts: RateLimitCounts = RateLimitCounts() if previous is None else previous.counts

    def admit(self, now: float) -> bool:
        """Take a token for a new connection; False: close it at once."""
        if self._bucket.take(now):
            self.counts.ok += 1
            return True
        self.counts.rate_limited += 1
        return False
