"""What looks at real processes, and that the rest is told with its reason."""

from sim.checks.always.catalogue import WATCHERS
from sim.checks.liveness.catalogue import PROMISES
from sim.local.judged import LOCAL_PROMISES, LOCAL_WATCHERS, UNJUDGED, UNJUDGED_IN_PHASES, unjudged


def test_every_check_is_either_judged_or_told_with_its_reason() -> None:
    assert {watcher.name for watcher in WATCHERS} == {watcher.name for watcher in LOCAL_WATCHERS} | set(UNJUDGED)
    told = {promise.name for promise in LOCAL_PROMISES} | set(UNJUDGED_IN_PHASES)
    assert {promise.name for promise in PROMISES} == told - {"idle-is-quiet"}
    assert "rate-limits (" in unjudged(phases=False)
    assert "reconnects-decay" not in unjudged(phases=False)
    assert "reconnects-decay (" in unjudged(phases=True)
