"""Which of the checks that are always on look at real processes, and why the others do not: told once with each run."""

from sim.checks.always.bounded_buffers import BoundedBuffers
from sim.checks.always.catalogue import WATCHERS
from sim.checks.always.livelock import NoLivelock
from sim.checks.always.rate_limits import RateLimits
from sim.checks.liveness.catalogue import PROMISES
from sim.checks.liveness.idle import IdleIsQuiet
from sim.checks.liveness.reconnects import ReconnectsDecay
from sim.checks.liveness.streams import StreamsProgress

UNJUDGED = {
    BoundedBuffers.name: "buffers are the kernel's",
    NoLivelock.name: "a reactor of a process does not count its events",
    RateLimits.name: "records say when requests began, not when tokens were taken: one moment in simulation only",
}
# With `phases`:
UNJUDGED_IN_PHASES = {
    StreamsProgress.name: "what is unread is the kernel's",
    ReconnectsDecay.name: "nobody sees all connections",
    IdleIsQuiet.name: "a reactor of a process does not count its events",
}

LOCAL_WATCHERS = tuple(watcher for watcher in WATCHERS if watcher.name not in UNJUDGED)
LOCAL_PROMISES = tuple(promise for promise in PROMISES if promise.name not in UNJUDGED_IN_PHASES)


def unjudged(*, phases: bool) -> str:
    """Say what was not judged, for the notes of a run."""
    reasons = UNJUDGED | (UNJUDGED_IN_PHASES if phases else {})
    return "not judged on real processes: " + "; ".join(f"{name} ({why})" for name, why in reasons.items())
