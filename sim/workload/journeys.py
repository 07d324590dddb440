"""Journeys of one workload, compiled once.

All chance of a journey is drawn at its start, so that how long answers take changes nobody's plans.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from mesh.model.randomness import Random
from mesh.protocol.http1 import ResponseHead
from sim.scenario.headers import Header
from sim.scenario.topology import Endpoint
from sim.scenario.users import Journey, Think, Visit, Workload
from sim.workload.http_client import HttpClient
from sim.workload.messages import DrawnHeaders, body_of, is_idempotent, request_message


class VisitPlan:
    """One request of a journey, encoded."""

    __slots__ = ("after", "before", "client", "expected", "headers", "title", "tracked")

    def __init__(
        self, visit: Visit, client: HttpClient, endpoint: Endpoint | None, headers_of_user: Sequence[Header]
    ) -> None:
        operation = visit.operation
        self.title = f"{operation.verb} {operation.service}{operation.target}"
        self.client = client
        self.before, self.after = request_message(
            operation, body_of(visit.body, endpoint), (*headers_of_user, *visit.headers)
        )
        self.headers = DrawnHeaders(visit.headers)
        self.expected = tuple((header.name.encode(), header.values[0].encode()) for header in visit.expected)
        self.tracked = not is_idempotent(operation, endpoint)  # its executions are counted, by delivery id

    def is_good(self, answer: ResponseHead) -> bool:
        """Is this an answer that the user goes on with?"""
        return 200 <= answer.status < 400 and all(answer.header(name) == value for name, value in self.expected)


class DrawnJourney(NamedTuple):
    """One journey, with all that was left to chance."""

    journey: Journey
    pauses: list[float]  # of its thinking
    lines: list[bytes]  # headers of its requests
    ids: Random  # of its requests
    retrying: Random  # pauses before what it tries again


JourneySteps = tuple[VisitPlan | None, ...]  # None: think


class Choices:
    """What one group of users chooses by. `stream(purpose)` is the group's own, so that no group changes another's plans."""

    def __init__(
        self,
        workload: Workload,
        steps_by_journey: Mapping[str, JourneySteps],
        headers: DrawnHeaders,
        stream: Callable[[str], Random],
    ) -> None:
        self._steps_by_journey = steps_by_journey
        self._headers = headers
        self._mixing = stream("mix")
        self._thinking = stream("think")
        self._choosing = stream("headers")
        self._ids = stream("ids")
        self._retrying = stream("retries")
        by_name = {journey.name: journey for journey in workload.journeys}
        self._mix = [by_name[journey] for journey, _ in workload.mix]
        self._upper = list(accumulate(weight for _, weight in workload.mix))

    def draw(self, lines: bytes | None = None) -> DrawnJourney:
        """Draw what a user does whose headers are `lines`; None: those are drawn, too."""
        if lines is None:
            lines = self._headers.draw(self._choosing)
        upper = self._upper
        place = bisect_right(upper, self._mixing.random() * upper[-1])
        journey = self._mix[min(place, len(upper) - 1)]
        pauses = [step.time.draw(self._thinking) for step in journey.steps if isinstance(step, Think)]
        visits = [plan for plan in self._steps_by_journey[journey.name] if plan is not None]
        drawn = [lines + plan.headers.draw(self._choosing) for plan in visits]
        return DrawnJourney(journey, pauses, drawn, self._ids, self._retrying)
