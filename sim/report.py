"""What a run leaves behind: one result object, its text for people, and its files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import msgspec

from mesh.model.errors import ConfigError, Violation
from sim.checks.evidence import Evidence, Verdict
from sim.checks.expectations import format_rounded
from sim.checks.measurements import quantile
from sim.event_log import Event

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
        width = max((len(check.name) for check in self.checks), default=0)
        lines = ["CHECKS"] if self.checks else ["CHECKS  none: nothing was promised"]
        for check in self.checks:
            lines.append(f"  {'ok  ' if check.ok else 'FAIL'}  {check.name:<{width}}  {check.value}  {check.detail}")
        lines.append(self._totals_line())
        lines.append(
            f"RUN     hash {self.event_hash[:16]}  seed {self.seed}  {self.hops} hops"
            f"  {format_rounded(self.virtual_s)} in {self.wall_s:.1f}s"
            f" ({self.virtual_s / max(self.wall_s, 1e-9):.0f}x real time, {self.hops / max(self.wall_s, 1e-9):.0f} hops/s)"
            f"  exit {self.exit_code}"
        )
        lines += [f"note    {note}" for note in self.notes]
        return "\n".join(lines)

    def _totals_line(self) -> str:
        totals = self.totals
        more = (totals.tries - totals.requests) / totals.requests if totals.requests else 0.0
        parts = [
            f"TOTALS  journeys {totals.journeys}",
            f"ok {totals.journeys_ok / totals.journeys:.2%}" if totals.journeys else "",
            f"requests {totals.requests}",
            f"tried {totals.tries} (+{more:.1%})",
            f"p50 {format_rounded(totals.visits_p50_s)}",
            f"p99 {format_rounded(totals.visits_p99_s)}",
            *(f"{status}: {count}" for status, count in totals.statuses.items() if int(status) >= 400),
            f"timeouts: {totals.timeouts}" if totals.timeouts else "",
        ]
        return "  ".join(part for part in parts if part)


def save(result: RunResult, events: Sequence[Event], folder: Path, names: Sequence[str]) -> None:
    """Write the named files (none named: all there are) into a folder, which is made. Raises: ConfigError."""
    writers = {
        "result.json": lambda: msgspec.json.format(msgspec.json.encode(result.to_json()), indent=2) + b"\n",
        "events.jsonl": lambda: b"".join(_event_line(event) for event in events),
        "junit.xml": lambda: _junit(result),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names or writers:
            (folder / name).write_bytes(writers[name]())
    except OSError as error:
        message = f"cannot write the run's files: {error.strerror}"
        raise ConfigError([Violation(message=message, file=str(folder))]) from error


def _event_line(event: Event) -> bytes:
    line = {"at_s": event.at_s, "host": event.host, "kind": event.kind, "level": event.level}
    return msgspec.json.encode(line | dict(event.fields), enc_hook=str) + b"\n"


def _junit(result: RunResult) -> bytes:
    """Write the checks as a JUnit test suite, which every build server reads."""
    failures = sum(not check.ok for check in result.checks)
    attributes = {"name": result.scenario, "tests": str(len(result.checks)), "failures": str(failures)}
    suite = ElementTree.Element("testsuite", attributes | {"time": f"{result.wall_s:.3f}"})
    for check in result.checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.scenario, "name": check.name})
        if not check.ok:
            ElementTree.SubElement(case, "failure", {"message": f"{check.value}: {check.detail}"})
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text
