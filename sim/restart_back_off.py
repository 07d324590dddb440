"""How long a supervisor waits before it starts again what died. Pure: time is `now`, in seconds.

Source: kubelet's CrashLoopBackOff: the wait doubles with each death up to five minutes, and begins anew after ten minutes
of quiet running. The kubelet starts the first time at once and then waits 10 s; here the first wait is the operator's.
"""

import attrs

LONGEST_S = 300.0
QUIET_S = 600.0


@attrs.define(eq=False)
class RestartBackOff:
    """What one supervisor remembers of what it supervises."""

    first_s: float
    _next_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next_s = self.first_s

    def after_death(self, *, ran_s: float) -> float:
        """Return how long to wait after something died that had run for `ran_s`."""
        if ran_s >= QUIET_S:
            self._next_s = self.first_s
        wait_s, self._next_s = self._next_s, min(2.0 * self._next_s, max(LONGEST_S, self.first_s))
        return wait_s
