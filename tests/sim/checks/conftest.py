"""Evidence made by hand: what a run would have left behind."""

from pathlib import Path

import pytest

from sim.checks.evidence import Evidence, Occurrence
from sim.checks.judge import judge
from sim.scenario.loader import parse_scenario
from sim.workload.observations import JourneyRecord, ServiceTally, UserLog, VisitRecord

HEAD = """\
type: Scenario
format: 1
name: judged
duration: 100s
warmup: 10s
zones: [a, b]
services: {web: {instances: {a: 1}, endpoints: {GET /: {}, POST /pay: {counts: paid}}}}
workload: {u: {rate: 1/s, journeys: {buy: [GET web/]}}}
timeline:
  - {at: 40s, for: 10s, partition: [a, b], name: split}
  - {at: 60s, scale: web, to: {a: 2}}
checks:
"""


class Case:
    """One scenario with one check, and the evidence that it is judged by."""

    def __init__(self, check):
        self.scenario = parse_scenario(HEAD + f"  - {check}\n", file="case.yaml", folder=Path())
        self.evidence = Evidence(scenario=self.scenario, ended_s=100.0, users=UserLog(), services=ServiceTally())
        for entry in self.scenario.timeline:
            end_s = entry.end_s(100.0) if entry.is_fault else entry.at_s
            self.evidence.occurrences.append(Occurrence(entry=entry, start_s=entry.at_s, end_s=end_s, bit=True))

    def journeys(self, *, every_s=0.1, latency_s=lambda start: 0.05, ok=lambda start: True, until_s=100.0):
        for n in range(int(until_s / every_s)):
            start = n * every_s
            end = start + latency_s(start)
            self.evidence.users.journeys.append(JourneyRecord("u", "buy", start, end, end - start, ok(start)))
            self.evidence.users.visits.append(VisitRecord("GET web/", start, end, 200 if ok(start) else 503, False))
        return self

    def tries(self, *rows):
        self.evidence.tries.by_service["web"] = list(rows)
        return self

    def verdict(self):
        (verdict,) = judge(self.evidence)
        return verdict


@pytest.fixture
def case():
    return Case
