"""Judges the built-in promises: recovery, double delivery, mutual TLS, convergence of configuration."""

from bisect import bisect_left

import attrs

from sim.checks.blame import blame
from sim.checks.evidence import Evidence, Occurrence, Verdict
from sim.checks.suspects import NAMED_MAX
from sim.checks.wording import format_moment, format_rounded
from sim.scenario.promises import ConfigConverges, MtlsEverywhere, NoDoubleDelivery, Recovers

_BUCKET_S = 5.0  # Goodput is looked at over this long at a time,
_STEP_S = 1.0  # moved on by this much.
_HEALTHY_SHARE = 0.9  # of the journeys in the second half of the warm-up.
_BACK_SHARE = 0.95  # Back to baseline: at least this share of it.


def judge_recovers(name: str, promise: Recovers, evidence: Evidence) -> Verdict:
    """Return how long after the end of each fault the share of good journeys stayed below its baseline.

    The baseline is the share from the end of the warm-up to the first fault. A system that does not come back
    although its fault is over is metastable. Source: Bronson et al., Metastable Failures, HotOS 2021.
    """
    wanted = f"<= {format_rounded(promise.within_s)}"
    goodput = _Goodput(evidence)
    faults = [fault for fault in evidence.faults() if fault.end_s < evidence.ended_s]
    if not faults:
        return Verdict(name=name, ok=True, value="no fault ended", detail=wanted)
    first = min(fault.start_s for fault in evidence.faults())
    baseline = goodput.share(evidence.scenario.warmup_s, first)
    if baseline is None:
        return Verdict(
            name=name, ok=False, value="nothing", detail="no journeys between the warm-up and the first fault"
        )
    worst_s, worst = max(((_recovery_s(f, baseline, goodput, evidence), f) for f in faults), key=lambda pair: pair[0])
    value = "never" if worst_s == float("inf") else format_rounded(worst_s)
    if worst_s <= promise.within_s:
        return Verdict(name=name, ok=True, value=value, detail=wanted)
    detail = f"{wanted}; after {worst.title} at {format_moment(worst.end_s)}"
    late_s = worst.end_s + promise.within_s
    verdict = blame(Verdict(name=name, ok=False, value=value, detail=detail), evidence, late_s, told=False)
    return attrs.evolve(verdict, near=worst.title)


def judge_warmup(evidence: Evidence) -> tuple[Verdict, ...]:
    """Return a broken verdict when the mesh was not healthy before anything was done to it: the run is then void."""
    warmup_s = evidence.scenario.warmup_s
    touched = any(occurrence.start_s < warmup_s for occurrence in evidence.occurrences)
    share = _Goodput(evidence).share(warmup_s / 2, warmup_s)
    if touched or share is None or share >= _HEALTHY_SHARE:
        return ()
    detail = f">= {_HEALTHY_SHARE:.0%} of journeys good before the warm-up ends; the run is void"
    verdict = Verdict(name="warm-up", ok=False, value=f"{share:.2%}", detail=detail)
    return (blame(verdict, evidence, warmup_s / 2, end_s=warmup_s),)


def judge_faults(evidence: Evidence) -> tuple[Verdict, ...]:
    """Return a broken verdict when there were faults, and none of them touched anything: the run has proven nothing."""
    faults = evidence.faults()
    if not faults or any(fault.bit for fault in faults):
        return ()
    detail = f"a fault that bites; none did: {', '.join(fault.title for fault in faults[:3])}; the run is void"
    return (Verdict(name="void", ok=False, value=f"0 of {len(faults)} faults", detail=detail),)


def _recovery_s(fault: Occurrence, baseline: float, goodput: "_Goodput", evidence: Evidence) -> float:
    """Return how long after its end goodput was last below baseline, up to the next fault (inf: it was still below)."""
    until_s = min([f.start_s for f in evidence.faults() if f.start_s > fault.end_s], default=evidence.ended_s)
    back_s, moment_s, below = fault.end_s, fault.end_s, False
    while moment_s + _BUCKET_S <= until_s:
        share = goodput.share(moment_s, moment_s + _BUCKET_S)
        below = share is not None and share < _BACK_SHARE * baseline
        moment_s += _STEP_S
        if below:
            back_s = moment_s
    return float("inf") if below else back_s - fault.end_s


class _Goodput:
    """The share of journeys that succeeded, by the moment at which they were meant to start."""

    def __init__(self, evidence: Evidence) -> None:
        rows = sorted((journey.start_s, journey.ok) for journey in evidence.users.journeys)
        self.starts = [start_s for start_s, _ in rows]
        self.good = [0]
        for _, ok in rows:
            self.good.append(self.good[-1] + ok)

    def share(self, start_s: float, end_s: float) -> float | None:
        first, last = bisect_left(self.starts, start_s), bisect_left(self.starts, end_s)
        return (self.good[last] - self.good[first]) / (last - first) if last > first else None


def judge_double_delivery(name: str, promise: NoDoubleDelivery, evidence: Evidence) -> Verdict:
    """Count requests that an endpoint executed to its end more than once."""
    wanted = "each executed once: " + ", ".join(f"{service} {operation}" for service, operation in promise.to)
    twice = [
        (key, count)
        for key, count in evidence.services.deliveries.items()
        if count > 1 and (key[0], key[1]) in promise.to
    ]
    executed = sum(evidence.services.executions[target] for target in promise.to)
    if not twice:
        return Verdict(name=name, ok=True, value=f"0 of {executed}", detail=wanted)
    (service, operation, request), count = min(twice)
    repeats = [repeat for repeat in evidence.services.repeats if repeat.operation in promise.to]
    first = min(repeats, key=lambda repeat: repeat.at_s, default=None)
    if first is not None:
        service, operation, request = *first.operation, first.delivery
        count = evidence.services.deliveries[service, operation, request]
    detail = f"{wanted}; {service} {operation} ran {count} times for {request.decode('latin-1')}"
    verdict = Verdict(name=name, ok=False, value=f"{len(twice)} of {executed}", detail=detail)
    if first is None:
        return verdict
    verdict = blame(verdict, evidence, first.at_s - evidence.origin_s)
    named = tuple(repeat.delivery.decode("latin-1") for repeat in repeats[:NAMED_MAX])
    return attrs.evolve(verdict, requests=named, trace=evidence.suspects.trace_by_retried.get(named[0], ""))


def judge_mtls(name: str, promise: MtlsEverywhere, evidence: Evidence) -> Verdict:
    """Count what reached an application from another host without a proven identity."""
    wanted = "every request with a proven identity"
    total = evidence.secure_requests + len(evidence.insecure)
    value = f"{len(evidence.insecure)} of {total} without"
    if not evidence.insecure:
        return Verdict(name=name, ok=total > 0, value=value, detail=wanted if total else f"{wanted}; there were none")
    first = min(evidence.insecure, key=lambda request: request.at_s)
    detail = f"{wanted}; first at {format_moment(first.at_s)} on {first.host} ({first.what})"
    verdict = blame(Verdict(name=name, ok=False, value=value, detail=detail), evidence, first.at_s, told=False)
    named = sorted(evidence.insecure, key=lambda request: request.at_s)[:NAMED_MAX]
    return attrs.evolve(
        verdict, requests=tuple(f"{request.what} on {request.host}" for request in named), trace=first.trace
    )


def judge_convergence(name: str, promise: ConfigConverges, evidence: Evidence) -> Verdict:
    """Return how long the slowest change took to be live in every reachable proxy."""
    wanted = f"<= {format_rounded(promise.within_s)}"
    changes = evidence.config_changes
    if not changes:
        return Verdict(name=name, ok=True, value="not judged", detail=f"{wanted}; nothing changed")
    stuck = next((change for change in changes if change.converged_s is None), None)
    if stuck is not None:
        late = f" ({', '.join(stuck.late[:3])})" if stuck.late else ""
        detail = f"{wanted}; {stuck.what} at {format_moment(stuck.start_s)} was not live everywhere{late}"
        verdict = Verdict(name=name, ok=False, value="never", detail=detail)
        return blame(verdict, evidence, stuck.start_s + promise.within_s, told=False)
    slowest = max(changes, key=lambda change: (change.converged_s or 0.0) - change.start_s)
    took_s = (slowest.converged_s or 0.0) - slowest.start_s
    ok = took_s <= promise.within_s
    detail = wanted if ok else f"{wanted}; {slowest.what} at {format_moment(slowest.start_s)}"
    verdict = Verdict(name=name, ok=ok, value=format_rounded(took_s), detail=detail)
    return verdict if ok else blame(verdict, evidence, slowest.start_s + promise.within_s, told=False)
