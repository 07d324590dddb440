"""Peak EWMA: how long a host's answers took lately, quick to believe that it got slower, slow to believe the contrary.

Pure: time is an argument. Source: linkerd2-proxy `linkerd/ewma`, `linkerd/load-biaser`; Finagle `PeakEwma`.
"""

import math

import attrs

SEED_S = 0.030
PENALTY_S = 5.0
PENALTY_S_MAX = 300.0
DECAY_S_MIN = 0.001


def _decay_of(decay_s: float) -> float:
    return max(decay_s, DECAY_S_MIN)


@attrs.define(eq=False)
class PeakEwma:
    """One host's moving average. `value_s` is as of `updated_at`; it is read through `at`, which lets it decay.

    `decay_s`: after so long without an answer 1/e of the value is left; at least a millisecond.
    """

    decay_s: float = attrs.field(converter=_decay_of)
    updated_at: float
    value_s: float = SEED_S

    def at(self, now: float) -> float:
        """Return the average as it has decayed to `now`; nothing is changed, so reading often costs no precision."""
        elapsed_s = now - self.updated_at
        return self.value_s * math.exp(-elapsed_s / self.decay_s) if elapsed_s > 0.0 else self.value_s

    def record(self, rtt_s: float, now: float) -> None:
        """Take in how long a try took to its answer; of a cancelled one, how long it had waited.

        Without the latter a slow host could hide behind callers that lose patience.
        """
        elapsed_s = max(now - self.updated_at, 0.0)
        kept = math.exp(-elapsed_s / self.decay_s)
        decayed_s = self.value_s * kept
        self.value_s = rtt_s if decayed_s < rtt_s else decayed_s + rtt_s * (1.0 - kept)
        self.updated_at = max(now, self.updated_at)

    def record_failure(self, elapsed_s: float, now: float, retry_after_s: float | None = None) -> None:
        """Take in a failed try as a very slow one; a host that fails fast would attract all traffic otherwise."""
        penalty_s = min(max(PENALTY_S, retry_after_s or 0.0), PENALTY_S_MAX)
        self.record(max(elapsed_s, penalty_s), now)
