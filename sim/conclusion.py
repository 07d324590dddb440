"""What a run comes to, wherever it was carried out: verdicts, totals and notes from what was seen.

Here a run is void, an alarm is one that the timeline had to raise, and a fault has touched something, for simulated hosts
and for real processes alike.
"""

from collections.abc import Iterable, Sequence

import attrs

from sim.checks.blame import blame
from sim.checks.evidence import Evidence, Verdict
from sim.checks.invariants import judge_faults, judge_warmup
from sim.checks.judge import judge, judge_watchers
from sim.checks.watcher import Watcher
from sim.event_log import Event
from sim.report.result import RunResult, Totals

READY_S_MAX = 120.0  # A mesh that does not stand by then never will.


@attrs.frozen(kw_only=True)
class Observed:
    """All that a run is judged by. `outcomes`: the verdicts of its course; `not_ready`: proxies that never stood."""

    evidence: Evidence
    watchers: Sequence[Watcher]
    outcomes: Sequence[Verdict] = ()
    errors: Sequence[Event] = ()
    not_ready: Sequence[str] = ()


def conclude(
    observed: Observed, *, event_hash: str, virtual_s: float, wall_s: float, notes: Iterable[str] = ()
) -> RunResult:
    """Judge a run. `notes` come after those of the scenario and those on faults that touched nothing."""
    evidence = observed.evidence
    scenario = evidence.scenario
    return RunResult(
        scenario=scenario.name,
        seed=scenario.seed,
        event_hash=event_hash,
        virtual_s=virtual_s,
        wall_s=wall_s,
        hops=evidence.hops,
        checks=(
            *_void(observed),
            *judge(evidence),
            *observed.outcomes,
            *judge_watchers(observed.watchers, evidence),
            *_no_errors(observed),
        ),
        totals=Totals.of(evidence),
        notes=(*scenario.notes, *_untouched(evidence), *notes),
        variant=scenario.variant,
    )


def _void(observed: Observed) -> tuple[Verdict, ...]:
    """Return why the run says nothing, if so: the mesh never stood, or was not healthy before the first check."""
    if observed.not_ready:
        detail = f"not configured within {READY_S_MAX:g}s: {', '.join(observed.not_ready[:5])}"
        return (Verdict(name="mesh-ready", ok=False, value=f"{len(observed.not_ready)} not ready", detail=detail),)
    return (*judge_warmup(observed.evidence), *judge_faults(observed.evidence))


def _no_errors(observed: Observed) -> tuple[Verdict, ...]:
    """Level error means that an operator must act; it fails a run, but where what the timeline did has to be told."""
    evidence = observed.evidence
    alarms = {kind for occurrence in evidence.occurrences for kind in occurrence.entry.verb.alarms}
    errors = [event for event in observed.errors if event.kind not in alarms]
    if not errors:
        return ()
    detail, first_s = str(errors[0]).splitlines()[0], errors[0].at_s - evidence.origin_s
    verdict = Verdict(name="no-errors", ok=False, value=f"{len(errors)} logged", detail=detail)
    return (blame(verdict, evidence, first_s, told=False),)


def _untouched(evidence: Evidence) -> list[str]:
    """Say which faults touched nothing: checks that were meant to survive them have proven nothing."""
    return [f"{fault.title}: touched nothing" for fault in evidence.faults() if not fault.bit]
