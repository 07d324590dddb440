"""Everything that checks may look at after a run. Filled by the runner while the run goes on; judged by nobody here."""

from collections.abc import Mapping, MutableSequence, Sequence
from typing import NamedTuple

import attrs

from mesh.config.outbounds import cluster_name
from sim.checks.suspects import Suspects
from sim.scenario.expression import Metric
from sim.scenario.scenario import Scenario
from sim.scenario.timeline import TimelineEntry
from sim.workload.observations import ServiceTally, UserLog
from sim.workload.packed_rows import PackedRows


@attrs.frozen(kw_only=True)
class Occurrence:
    """A timeline entry as it happened, in seconds of the run. `bit`: it touched something; a fault that did not is void."""

    entry: TimelineEntry
    start_s: float
    end_s: float
    bit: bool

    @property
    def title(self) -> str:
        return self.entry.title()

    def goes_by(self, word: str) -> bool:
        """Is this what `during WORD` means?"""
        return word in (self.entry.name, self.entry.word)


@attrs.frozen(kw_only=True)
class ConfigChange:
    """One change of configuration: when every reachable proxy ran it (None: not before the run ended, or the next change)."""

    what: str
    start_s: float
    converged_s: float | None
    late: tuple[str, ...] = ()  # proxies that still lagged


@attrs.frozen(kw_only=True)
class InsecureRequest:
    """A request (or connection) that reached an application from another host without a proven identity."""

    host: str
    at_s: float
    what: str
    trace: str = ""


class ProxyLog:
    """What proxies answered and why, as moments of the run at which requests began.

    `answers`: by status, at the callers' proxies; `flags`: by response flag (`UO`), at all proxies; `shadow_denials`: by service.
    """

    def __init__(self) -> None:
        self.answers: dict[int, MutableSequence[float]] = {}
        self.flags: dict[str, MutableSequence[float]] = {}
        self.shadow_denials: dict[str, list[float]] = {}


class TryRow(NamedTuple):
    """One request that an outbound proxy sent."""

    start_s: float
    tries: int


class TryLog:
    """Requests that outbound proxies sent, by service."""

    def __init__(self) -> None:
        self.by_service: dict[str, Sequence[tuple[float, int]]] = {}
        self._rows_by_cluster: dict[str, PackedRows[TryRow]] = {}

    def rows_by_cluster(self, scenario: Scenario) -> Mapping[str, PackedRows[TryRow]]:
        """Return what the requests to each cluster are appended to: one mapping for all proxies, however many."""
        if not self._rows_by_cluster:
            for service in scenario.services:
                rows = self.by_service[service.name] = PackedRows(TryRow, "dI")
                self._rows_by_cluster[cluster_name(service.name, service.kind.port)] = rows
        return self._rows_by_cluster

    def totals(self) -> tuple[int, int]:
        """Return how many requests there were, and how many tries they took."""
        counts = [tries for rows in self.by_service.values() for _, tries in rows]
        return len(counts), sum(counts)


@attrs.define(eq=False, kw_only=True)
class Evidence:
    """One run, as it was seen from outside. Times are seconds of the run; `ended_s` when load stopped."""

    scenario: Scenario
    ended_s: float
    users: UserLog
    services: ServiceTally
    tries: TryLog = attrs.Factory(TryLog)
    proxies: ProxyLog = attrs.Factory(ProxyLog)
    suspects: Suspects = attrs.Factory(Suspects)
    gauges: dict[Metric, list[tuple[float, float]]] = attrs.Factory(dict)  # {asked for: [(moment, value), ...]}
    occurrences: list[Occurrence] = attrs.Factory(list)
    config_changes: list[ConfigChange] = attrs.Factory(list)
    insecure: list[InsecureRequest] = attrs.Factory(list)
    secure_requests: int = 0
    origin_s: float = 0.0  # when the run began, in seconds of the reactors' clock
    hops: int = 0  # HTTP requests that went through two sidecars to an application

    def faults(self) -> list[Occurrence]:
        """Return the occurrences that hurt, in order."""
        return [occurrence for occurrence in self.occurrences if occurrence.entry.is_fault]

    def nearby(self, moment_s: float, *, after_s: float = 30.0) -> str:
        """Name what happened at a moment, or what had ended less than `after_s` before; the latest to start, or nothing."""
        near = [o for o in self.occurrences if o.start_s <= moment_s <= o.end_s + after_s]
        return max(near, key=lambda o: o.start_s).title if near else ""


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of one check. `value` for people, `detail` what was wanted and, when broken, when and by what.

    Of a broken one, where it is known: the first moment, what happened near it, requests concerned and the id of a trace.
    `always`: nobody asked for it, it is on in every run.
    """

    name: str
    ok: bool
    value: str
    detail: str
    first_s: float | None = None
    near: str = ""
    requests: tuple[str, ...] = ()
    trace: str = ""
    always: bool = False
