"""How clients repeat what failed: applications their calls, users their requests. Values only.

The mesh has retries of its own (MeshRetry); these are the other ones, in libraries and browsers, that multiply with them.
"""

import attrs

RETRY_ON: tuple[str, ...] = ("5xx", "reset", "timeout")
TIMED_OUT, BROKEN = -1, 0  # What a try came to that has no status.


@attrs.frozen(kw_only=True)
class Retries:
    """At most `count` tries after the first, each with the timeout of its own that a single one would have.

    `outcomes`: what is tried again: 5xx, reset (no answer), timeout or a status. The n-th pause (from 0) is `backoff_s` times
    2^n, at most `backoff_max_s`; with `jitter` a uniform draw up to that (full jitter, as in the AWS Architecture Blog 2015).
    """

    count: int
    outcomes: tuple[str, ...] = RETRY_ON
    backoff_s: float = 0.0
    backoff_max_s: float = 0.0
    jitter: bool = False

    def wants(self, status: int) -> bool:
        """Is a try with this outcome made again?"""
        if status == TIMED_OUT:
            return "timeout" in self.outcomes
        if status == BROKEN:
            return "reset" in self.outcomes
        return (status >= 500 and "5xx" in self.outcomes) or str(status) in self.outcomes

    def pause_bound_s(self, number: int) -> float:
        """Return the longest pause before the retry with this number, from 0."""
        return min(self.backoff_s * 2.0**number, self.backoff_max_s)
