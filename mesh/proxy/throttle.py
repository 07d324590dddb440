"""Throttle: lets the bytes of one response through at a steady rate. Pure.

Source: Envoy source/extensions/filters/http/common/stream_rate_limiter.cc: a bucket of one second's bytes, which begins with
those of one fill interval and is looked at after each.
"""

FILL_INTERVAL_S = 0.05


class Throttle:
    """A bucket of bytes. Send pieces of at most `piece_bytes`, each after the wait that `delay_s` returns for it.

    A response that comes faster than the rate so goes out in one piece per fill interval, as Envoy's does. One that
    paused may catch up with what it has not used, up to one second's worth.
    """

    __slots__ = ("_bytes_per_s", "_filled_at", "_tokens", "piece_bytes")

    def __init__(self, bytes_per_s: float) -> None:
        self.piece_bytes = max(1, int(bytes_per_s * FILL_INTERVAL_S))
        self._bytes_per_s = bytes_per_s
        self._tokens = bytes_per_s * FILL_INTERVAL_S
        # invariant: `_tokens` are those of this instant; below 0 it owes them to pieces that wait for their turn.
        self._filled_at: float | None = None

    def delay_s(self, size: int, now: float) -> float:
        """Spend `size` bytes; return how long they have to wait from now, 0 for not at all. Any size is taken."""
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        tokens = min(self._tokens + elapsed * self._bytes_per_s, self._bytes_per_s) - size
        self._tokens = tokens
        return 0.0 if tokens >= 0.0 else -tokens / self._bytes_per_s
