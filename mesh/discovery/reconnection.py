"""Reconnection: how long a sidecar waits before it calls the control plane again. Pure.

Exponential with full jitter, so that the sidecars of a mesh do not come back together after an outage.
Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
"""

import attrs

from mesh.model.randomness import Random


@attrs.frozen(kw_only=True)
class ReconnectionBackoff:
    """Spans in seconds. A connection that lived for `healthy_s` makes the next failure count as the first."""

    base_s: float = 0.1
    max_s: float = 10.0
    refused_s_base: float = 1.0  # after a refusal for good: a control plane may not have heard of what others know
    refused_s: float = 30.0  # after many: coming back does not change it
    healthy_s: float = 10.0


@attrs.define(eq=False)
class Reconnection:
    """The run of failures so far."""

    backoff: ReconnectionBackoff = ReconnectionBackoff()
    failures: int = 0
    refusals: int = 0

    def after_connection(self, *, lived_s: float) -> None:
        """Note how long the last connection was of use; 0: there was none."""
        if lived_s >= self.backoff.healthy_s:
            self.failures = 0
        if lived_s > 0:
            self.refusals = 0

    def delay_s(self, random: Random) -> float:
        """Return the wait before the next try, and count the failure."""
        # Bounded here, for 2 ** failures of a long outage is no float.
        ceiling_s = min(self.backoff.base_s * 2 ** min(self.failures, 32), self.backoff.max_s)
        self.failures += 1
        return random.uniform(0.0, ceiling_s)

    def refused_delay_s(self, random: Random) -> float:
        """Return the wait after a permanent refusal: soon slow, with some jitter."""
        ceiling_s = min(self.backoff.refused_s_base * 2.0 ** min(self.refusals, 32), self.backoff.refused_s)
        self.refusals += 1
        return ceiling_s * random.uniform(0.9, 1.1)
