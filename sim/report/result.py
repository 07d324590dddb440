"""One run, judged: the object that everything else is made from."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from sim.checks.evidence import Evidence, Verdict
from sim.checks.measurements import quantile
from sim.report.text import screen_of

EXIT_OK = 0
EXIT_CHECK_FAILED = 1


@attrs.frozen(kw_only=True)
class Totals:
    """The run in figures; spans in seconds. `requests` and `tries` are those of all proxies towards services."""

    journeys: int = 0
    journeys_ok: int = 0
    visits: int = 0
    visits_p50_s: float = 0.0
    visits_p99_s: float = 0.0
    timeouts: int = 0
    no_response: int = 0
    statuses: Mapping[str, int] = attrs.field(factory=dict)
    requests: int = 0
    tries: int = 0
    database_statements: int = 0
    refused_by_queues: int = 0

    @classmethod
    def of(cls, evidence: Evidence) -> "Totals":
        """Add up a run, without its warm-up where users are concerned."""
        warmup_s = evidence.scenario.warmup_s
        journeys = [journey for journey in evidence.users.journeys if journey.start_s >= warmup_s]
        visits = [visit for visit in evidence.users.visits if visit.start_s >= warmup_s]
        latencies = sorted(visit.end_s - visit.start_s for visit in visits)
        requests, tries = evidence.tries.totals()
        return cls(
            journeys=len(journeys),
            journeys_ok=sum(journey.ok for journey in journeys),
            visits=len(visits),
            visits_p50_s=quantile(latencies, 0.5) if latencies else 0.0,
            visits_p99_s=quantile(latencies, 0.99) if latencies else 0.0,
            timeouts=sum(visit.timed_out for visit in visits),
            no_response=sum(not visit.status and not visit.timed_out for visit in visits),
            statuses=dict(sorted(Counter(str(visit.status) for visit in visits if visit.status).items())),
            requests=requests,
            tries=tries,
            database_statements=sum(evidence.services.statements.values()),
            refused_by_queues=sum(evidence.services.refused.values()),
        )


@attrs.frozen(kw_only=True)
class RunResult:
    """One run, judged. `notes` are for people: what was skipped, faults that touched nothing."""

    scenario: str
    seed: int
    event_hash: str
    virtual_s: float
    wall_s: float
    hops: int
    checks: tuple[Verdict, ...]
    totals: Totals
    notes: tuple[str, ...] = ()
    variant: str = ""  # of the scenario, if it has any

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.ok else EXIT_CHECK_FAILED

    def to_json(self) -> dict[str, Any]:
        """Return the object that `mesh run -o json` prints. Source: DESIGN.md section 6."""
        return {
            "scenario": self.scenario,
            "variant": self.variant,
            "seed": self.seed,
            "event_hash": self.event_hash,
            "virtual_s": round(self.virtual_s, 6),
            "wall_s": round(self.wall_s, 3),
            "hops": self.hops,
            "checks": [attrs.asdict(check) for check in self.checks],
            "totals": attrs.asdict(self.totals),
        }

    def to_text(self) -> str:
        """Return the screen: checks, totals, notes."""
        return screen_of(self)
