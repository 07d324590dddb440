"""What happened to users and what services did: appended to while a run goes on, read by checks and reports.

One tuple a visit and one a journey, no object per request. Whoever runs services and users hands one in.
"""

from collections import Counter
from typing import NamedTuple


class JourneyRecord(NamedTuple):
    """One journey. Times are seconds of the run; `latency_s` counts from the intended start of each visit, without thinking."""

    workload: str
    journey: str
    start_s: float  # intended
    end_s: float
    latency_s: float
    ok: bool


class VisitRecord(NamedTuple):
    """One request of a user. `status` 0: no response (`timed_out`, or the connection broke)."""

    request: str  # METHOD service/path
    start_s: float  # intended
    end_s: float
    status: int
    timed_out: bool


class UserLog:
    """Everything users did, in the order in which it ended."""

    def __init__(self) -> None:
        self.journeys: list[JourneyRecord] = []
        self.visits: list[VisitRecord] = []
        self.begun = 0  # journeys, ended or not


class ServiceTally:
    """What the instances of all services did.

    `executions`: `{(service, operation): completed}`; `events`: `{service.event: count}`; `deliveries`:
    `{(service, operation, delivery id): completed}`, only for endpoints that are not idempotent.
    """

    def __init__(self) -> None:
        self.executions: Counter[tuple[str, str]] = Counter()
        self.statements: Counter[tuple[str, str]] = Counter()
        self.events: Counter[str] = Counter()
        self.deliveries: Counter[tuple[str, str, bytes]] = Counter()
        self.refused: Counter[str] = Counter()  # {service: requests beyond its queue}
        self.failed: Counter[tuple[str, str]] = Counter()  # {(service, operation): answered with an error}
