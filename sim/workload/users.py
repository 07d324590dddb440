"""The users of one workload in one zone: they arrive (open) or go round (closed), make journeys, and have little patience.

Owns: when each journey starts and what it consists of; all chance of a journey is drawn at its start, so that how long
answers take changes nobody's plans. Accepts: nothing. Emits: records into the UserLog it was given.

Latency counts from the intended start, not from when a request could be sent: a stalled generator shows (coordinated
omission). Whoever waits longer than the workload's `timeout` drops the connection; the servers do not notice and work on.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import trio

from mesh.model.errors import DeadlineExceeded
from mesh.model.randomness import Random
from mesh.protocol.http1 import ResponseHead
from mesh.runtime.environment import Environment
from sim.scenario.headers import Header
from sim.scenario.topology import Endpoint
from sim.scenario.users import ClosedModel, Journey, OpenModel, Think, Visit
from sim.workload.http_client import HttpClient
from sim.workload.messages import DrawnHeaders, request_message
from sim.workload.observations import JourneyRecord, UserLog, VisitRecord
from sim.workload.settings import UsersSettings
from sim.workload.starts import Starts, make_starts
from sim.workload.steps import FAILURES

_STREAM = "users"


class _VisitPlan:
    """One request of a journey, encoded."""

    __slots__ = ("after", "before", "client", "expected", "headers", "title", "tracked")

    def __init__(self, visit: Visit, client: HttpClient, endpoint: Endpoint, headers_of_user: Sequence[Header]) -> None:
        operation = visit.operation
        self.title = f"{operation.verb} {operation.service}{operation.target}"
        self.client = client
        self.before, self.after = request_message(operation, endpoint.request_bytes, (*headers_of_user, *visit.headers))
        self.headers = DrawnHeaders(visit.headers)
        self.expected = tuple((header.name.encode(), header.values[0].encode()) for header in visit.expected)
        self.tracked = not endpoint.idempotent  # its executions are counted, by delivery id

    def is_good(self, answer: ResponseHead) -> bool:
        """Is this an answer that the user goes on with?"""
        return 200 <= answer.status < 400 and all(answer.header(name) == value for name, value in self.expected)


class _Plan(NamedTuple):
    """One journey, with all that was left to chance."""

    journey: Journey
    pauses: list[float]  # of its thinking
    lines: list[bytes]  # headers of its requests


_Steps = tuple["_VisitPlan | None", ...]  # None: think


class Users:
    """See the module's text. `run` starts journeys until the end of the load, then waits to be cancelled."""

    def __init__(self, env: Environment, settings: UsersSettings, log: UserLog, *, origin_s: float = 0.0) -> None:
        """`origin_s`: what the log calls 0, in seconds of the reactor's clock."""
        self.env = env
        self.settings = settings
        self.log = log
        self.active = 0
        self._origin_s = origin_s
        self._patience_s = settings.workload.timeout_s or math.inf
        self._number = 0
        stream = env.randomness.stream
        name = settings.workload.name
        self._mixing: Random = stream(_STREAM, name, "mix")
        self._thinking: Random = stream(_STREAM, name, "think")
        self._arriving: Random = stream(_STREAM, name, "arrivals")
        self._ids: Random = stream(_STREAM, name, "ids")
        self._choosing: Random = stream(_STREAM, name, "headers")
        self._headers = DrawnHeaders(settings.workload.headers)
        self._clients = {
            service: HttpClient(env.reactor, address) for service, address in settings.address_by_service.items()
        }
        self._plan_by_journey = {j.name: self._compile(j) for j in settings.workload.journeys}
        self._journey_by_name = {j.name: j for j in settings.workload.journeys}
        self._mix = [self._journey_by_name[journey] for journey, _ in settings.workload.mix]
        self._upper = list(accumulate(weight for _, weight in settings.workload.mix))

    async def run(self) -> None:
        """Start journeys; those under way at the end are finished."""
        reactor, settings = self.env.reactor, self.settings
        match settings.workload.model:
            case OpenModel() as model:
                reactor.start(self._arrive(make_starts(model, settings.share, self._arriving)), name="arrivals")
            case ClosedModel() as model:
                for user in range(settings.first_user, settings.first_user + settings.users):
                    reactor.start(self._go_round(model, user), name="user")
        try:
            await trio.sleep_forever()
        finally:
            for client in self._clients.values():
                client.close()

    # When journeys start.

    async def _arrive(self, starts: Starts) -> None:
        reactor = self.env.reactor
        begin = reactor.now()
        while True:
            due_s = starts.next()
            if due_s > self.settings.until_s:
                return
            wait_s = begin + due_s - reactor.now()
            if wait_s > 0:
                await reactor.sleep(wait_s)
            plan = self._draw_journey(self._headers.draw(self._choosing))
            reactor.start(self._make(plan, begin + due_s), name="journey")

    async def _go_round(self, model: ClosedModel, user: int) -> None:
        reactor = self.env.reactor
        random = self.env.randomness.stream(_STREAM, self.settings.workload.name, "user", user)
        lines = self._headers.of(user)
        end = reactor.now() + self.settings.until_s
        # Users who all begin at once would stay in step for a while.
        await reactor.sleep(model.think.mean_s * random.random())
        while reactor.now() < end:
            await self._make(self._draw_journey(lines), reactor.now())
            await reactor.sleep(max(model.think.draw(random), 1e-6))

    def _draw_journey(self, lines: bytes) -> _Plan:
        """Draw what a user does whose headers are `lines`."""
        upper = self._upper
        place = bisect_right(upper, self._mixing.random() * upper[-1])
        journey = self._mix[min(place, len(upper) - 1)]
        pauses = [step.time.draw(self._thinking) for step in journey.steps if isinstance(step, Think)]
        visits = [plan for plan in self._plan_by_journey[journey.name] if plan is not None]
        return _Plan(journey, pauses, [lines + plan.headers.draw(self._choosing) for plan in visits])

    # What a journey does.

    def _compile(self, journey: Journey) -> _Steps:
        return tuple(self._visit_plan(step) if isinstance(step, Visit) else None for step in journey.steps)

    def _visit_plan(self, visit: Visit) -> _VisitPlan:
        operation = visit.operation
        endpoint = self.settings.called[operation.service, operation.verb, operation.path]
        return _VisitPlan(visit, self._clients[operation.service], endpoint, self.settings.workload.headers)

    async def _make(self, plan: _Plan, intended: float) -> None:
        """Go through one journey that was meant to start at `intended`."""
        reactor, origin = self.env.reactor, self._origin_s
        self._number += 1
        self.log.begun += 1
        self.active += 1
        latency_s, began, good = 0.0, intended, True
        pauses, lines = iter(plan.pauses), iter(plan.lines)
        try:
            for visit in self._plan_by_journey[plan.journey.name]:
                if visit is None:
                    # The next request is meant to leave this long after the answer came.
                    intended = max(reactor.now(), intended) + next(pauses)
                    await reactor.sleep(max(intended - reactor.now(), 0.0))
                    continue
                good = await self._visit(visit, intended, next(lines))
                ended = reactor.now()
                latency_s += ended - intended
                intended = ended
                if not good:
                    break
        finally:
            self.active -= 1
        name = self.settings.workload.name
        self.log.journeys.append(
            JourneyRecord(name, plan.journey.name, began - origin, reactor.now() - origin, latency_s, good)
        )

    async def _visit(self, plan: _VisitPlan, intended: float, lines: bytes) -> bool:
        """Send one request; record it and return whether its answer was good."""
        reactor = self.env.reactor
        pump = reactor.current
        assert pump is not None
        pump.set_deadline(intended + self._patience_s)
        status, timed_out, good = 0, False, False
        # Ids as browsers' requests get them at the edge: random, yet drawn from this workload's own stream.
        request_id = b"%032x" % self._ids.getrandbits(128)
        lines = b"%bx-request-id: %b\r\n" % (lines, request_id)
        if plan.tracked:
            lines = b"%bx-delivery-id: %b\r\n" % (lines, request_id)
        try:
            answer = await plan.client.request(b"%b%b%b" % (plan.before, lines, plan.after))
            status, good = answer.status, plan.is_good(answer)
        except DeadlineExceeded:
            timed_out = True
        except FAILURES:
            pass
        pump.set_deadline(math.inf)
        now, origin = reactor.now(), self._origin_s
        self.log.visits.append(VisitRecord(plan.title, intended - origin, now - origin, status, timed_out))
        return good
