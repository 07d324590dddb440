"""Judges all checks of a run. One line a kind of promise; each kind has its function."""

from collections.abc import Iterable
from typing import assert_never

from sim.checks.evidence import Evidence, Verdict
from sim.checks.expectations import judge_expectation
from sim.checks.invariants import judge_convergence, judge_double_delivery, judge_mtls, judge_recovers
from sim.checks.measurements import Measurements
from sim.checks.watcher import Watcher
from sim.checks.wording import format_moment
from sim.scenario.promises import (
    Check,
    ConfigConverges,
    Expectation,
    MtlsEverywhere,
    NoDoubleDelivery,
    Recovers,
)


def judge(evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the verdict on every check of the scenario, in its order."""
    measurements = Measurements(evidence)
    return tuple(_judge_one(check, evidence, measurements) for check in evidence.scenario.checks)


def judge_watchers(watchers: Iterable[Watcher], evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the verdicts of the checks that are always on."""
    return tuple(_judge_watcher(watcher, evidence) for watcher in watchers)


def _judge_watcher(watcher: Watcher, evidence: Evidence) -> Verdict:
    value = f"{watcher.found} of {watcher.judged}"
    if not watcher.found:
        return Verdict(name=watcher.name, ok=True, value=value, detail=watcher.about, always=True)
    first = min(watcher.findings, key=lambda finding: finding.at_s)
    near = evidence.nearby(first.at_s)
    blame = f"; first at {format_moment(first.at_s)}: {first.what}" + (f" ({near})" if near else "")
    return Verdict(
        name=watcher.name,
        ok=False,
        value=value,
        detail=f"{watcher.about}{blame}",
        first_s=first.at_s,
        near=near,
        requests=first.requests,
        trace=first.trace,
        always=True,
    )


def _judge_one(check: Check, evidence: Evidence, measurements: Measurements) -> Verdict:
    match check.promise:
        case Expectation() as promise:
            return judge_expectation(check.name, promise, evidence, measurements)
        case Recovers() as promise:
            return judge_recovers(check.name, promise, evidence)
        case NoDoubleDelivery() as promise:
            return judge_double_delivery(check.name, promise, evidence)
        case MtlsEverywhere() as promise:
            return judge_mtls(check.name, promise, evidence)
        case ConfigConverges() as promise:
            return judge_convergence(check.name, promise, evidence)
        case _ as never:
            assert_never(never)
