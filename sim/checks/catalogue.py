"""The names of all checks that no scenario has to ask for: what `breaks` of a variant may name besides the scenario's own."""

from sim.checks.always.catalogue import WATCHERS
from sim.checks.liveness.catalogue import PROMISES

VOID = ("mesh-ready", "warm-up", "void")  # the run has proven nothing
AFTER_LOAD = ("all-connected", "nothing-left", "idle-is-quiet")

STANDING_CHECKS: tuple[str, ...] = (
    *VOID,
    *(promise.name for promise in PROMISES),
    *AFTER_LOAD,
    *(watcher.name for watcher in WATCHERS),
    "no-errors",
)
