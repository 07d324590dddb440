"""What happened to users and what services did: appended to while a run goes on, read by checks and reports.

One packed row a visit and one a journey, no object per request. Whoever runs services and users hands one in.
"""

from array import array
from collections import Counter, deque
from collections.abc import Collection, MutableSequence
from typing import NamedTuple

from sim.workload.packed_rows import PackedRows


class JourneyRecord(NamedTuple):
    """One journey. Times are seconds of the run; `latency_s` counts from the intended start of each visit, without thinking."""

    workload: str
    journey: str
    start_s: float  # intended
    end_s: float
    latency_s: float
    ok: bool


class VisitRecord(NamedTuple):
    """One request of a user, tried once or, by the user's own retries, several times: the outcome is that of the last try.

    `status` 0: no response (`timed_out`, or the connection broke).
    """

    request: str  # METHOD service/path
    start_s: float  # intended
    end_s: float
    status: int
    timed_out: bool
    tries: int = 1
    request_id: bytes = b""  # by which sidecars' records know it; at most 32 bytes


class UserLog:
    """Everything users did, in the order in which it ended."""

    def __init__(self) -> None:
        self.journeys = PackedRows(JourneyRecord, "IIddd?", texts=2)
        self.visits = PackedRows(VisitRecord, "Iddi?i33p", texts=1)
        self.begun = 0  # journeys, ended or not


class Arrival(NamedTuple):
    """Where a request or connection came in; the operation of statements and connections is ""."""

    service: str
    instance: str
    zone: str
    operation: str


class Repeat(NamedTuple):
    """A request that was executed once more, when this ended: in seconds of the reactors' clock."""

    at_s: float
    operation: tuple[str, str]  # (service, operation)
    delivery: bytes


class ServiceTally:
    """What the instances of all services did. `keeps_moments`: False where nobody will ask, and the process may run for ever.

    `arrivals`: when requests reached an application, `connections` when connections did on which something was said (probes
    say nothing), in seconds of the reactors' clock.

    `executions`: `{(service, operation): completed}`; `events`: `{service.event: count}`; `deliveries`:
    `{(service, operation, delivery id): completed}`, only for endpoints that are not idempotent.
    """

    def __init__(self, *, keeps_moments: bool = True) -> None:
        self._keeps_moments = keeps_moments
        self.arrivals: dict[Arrival, MutableSequence[float]] = {}
        self.connections: dict[Arrival, MutableSequence[float]] = {}
        self.executions: Counter[tuple[str, str]] = Counter()
        self.statements: Counter[tuple[str, str]] = Counter()
        self.events: Counter[str] = Counter()
        self.deliveries: Counter[tuple[str, str, bytes]] = Counter()
        self.repeats: list[Repeat] = []  # of deliveries
        self.refused: Counter[str] = Counter()  # {service: requests beyond its queue}
        self.failed: Counter[tuple[str, str]] = Counter()  # {(service, operation): answered with an error}
        self.cached: Counter[tuple[str, bool]] = Counter()  # {(service, found): what cached steps asked for}

    def deliver(self, service: str, operation: str, delivery: bytes, at_s: float) -> None:
        """Count one execution of what is not idempotent, at a moment of the reactors' clock."""
        key = (service, operation, delivery)
        self.deliveries[key] += 1
        if self.deliveries[key] > 1:
            self.repeats.append(Repeat(at_s, (service, operation), delivery))

    def worked(self, services: Collection[str]) -> int:
        """Return how many requests and statements the named services have completed."""
        counters = (self.executions, self.statements)
        return sum(count for counts in counters for key, count in counts.items() if key[0] in services)

    def failures(self, services: Collection[str]) -> int:
        """Return how many requests the named services have answered with an error."""
        return sum(count for key, count in self.failed.items() if key[0] in services)

    def requests_at(self, arrival: Arrival) -> MutableSequence[float]:
        """Return what the moments of requests are appended to."""
        return self.arrivals.setdefault(arrival, array("d")) if self._keeps_moments else deque(maxlen=0)

    def connections_at(self, arrival: Arrival) -> MutableSequence[float]:
        """Return what the moments of connections are appended to."""
        return self.connections.setdefault(arrival, array("d")) if self._keeps_moments else deque(maxlen=0)
