"""Making journeys: requests one after the other, with pauses, patience and retries; what came of them is recorded. For pumps.

Latency counts from the intended start, not from when a request could be sent: a stalled generator shows (coordinated
omission). Whoever waits longer than the workload's `timeout` drops the connection; the servers do not notice and work on.
"""

import math
from collections.abc import Mapping

from mesh.model.errors import DeadlineExceeded
from mesh.runtime.environment import Reactor
from mesh.runtime.pump import PumpCancelled
from sim.scenario.retries import TIMED_OUT
from sim.scenario.users import Workload
from sim.workload.hot_key import HotKey
from sim.workload.journeys import DrawnJourney, JourneySteps, VisitPlan
from sim.workload.observations import JourneyRecord, UserLog, VisitRecord
from sim.workload.steps import FAILURES, pause_before_retry


class Visitor:
    """Makes the journeys of one workload in one zone. `leaving`: who is cancelled now has left, and is recorded so."""

    def __init__(
        self,
        reactor: Reactor,
        workload: Workload,
        steps_by_journey: Mapping[str, JourneySteps],
        log: UserLog,
        *,
        origin_s: float,
    ) -> None:
        self.active = 0
        self.leaving = False
        self.hot_keys: list[HotKey] = []
        self._reactor = reactor
        self._name = workload.name
        self._patience_s = workload.timeout_s or math.inf
        self._retries = workload.retries
        self._steps_by_journey = steps_by_journey
        self._log = log
        self._origin_s = origin_s

    async def make(self, drawn: DrawnJourney, intended: float) -> None:
        """Go through one journey that was meant to start at `intended`."""
        reactor = self._reactor
        self._log.begun += 1
        self.active += 1
        latency_s, began, good = 0.0, intended, True
        pauses, lines = iter(drawn.pauses), iter(drawn.lines)
        try:
            for visit in self._steps_by_journey[drawn.journey.name]:
                if visit is None:
                    # The next request is meant to leave this long after the answer came.
                    intended = max(reactor.now(), intended) + next(pauses)
                    await reactor.sleep(max(intended - reactor.now(), 0.0))
                    continue
                good = await self._visit(visit, intended, next(lines), drawn)
                ended = reactor.now()
                latency_s += ended - intended
                intended = ended
                if not good:
                    break
        except PumpCancelled:
            if self.leaving:
                self._record_journey(drawn, began, latency_s, good=False)
            raise
        finally:
            self.active -= 1
        self._record_journey(drawn, began, latency_s, good=good)

    def _record_journey(self, drawn: DrawnJourney, began: float, latency_s: float, *, good: bool) -> None:
        now, origin = self._reactor.now(), self._origin_s
        self._log.journeys.append(
            JourneyRecord(self._name, drawn.journey.name, began - origin, now - origin, latency_s, good)
        )

    async def _visit(self, plan: VisitPlan, intended: float, lines: bytes, drawn: DrawnJourney) -> bool:
        """Send one request, perhaps several times; record it and return whether its answer was good."""
        reactor, retries, origin = self._reactor, self._retries, self._origin_s
        # Ids as browsers' requests get them at the edge: random, yet drawn from the users' own stream.
        request_id = b"%032x" % drawn.ids.getrandbits(128)
        if self.hot_keys:
            for hot_key in self.hot_keys:
                lines = hot_key.heat(lines)
        delivery = b"x-delivery-id: %b\r\n" % request_id if plan.tracked else b""
        tries, since = 0, intended
        status, timed_out, good = 0, False, False
        try:
            while True:
                tries += 1
                message = b"%b%bx-request-id: %b\r\n%b%b" % (plan.before, lines, request_id, delivery, plan.after)
                status, timed_out, good = await self._try(plan, message, since + self._patience_s)
                if good or retries is None or tries > retries.count:
                    break
                if not retries.wants(TIMED_OUT if timed_out else status):
                    break
                await pause_before_retry(reactor, retries, tries - 1, drawn.retrying)
                request_id = b"%032x" % drawn.ids.getrandbits(128)
                since = reactor.now()
        except PumpCancelled:
            if self.leaving:
                self._log.visits.append(
                    VisitRecord(plan.title, intended - origin, reactor.now() - origin, 0, False, tries, request_id)
                )
            raise
        self._log.visits.append(
            VisitRecord(plan.title, intended - origin, reactor.now() - origin, status, timed_out, tries, request_id)
        )
        return good

    async def _try(self, plan: VisitPlan, message: bytes, deadline: float) -> tuple[int, bool, bool]:
        """Return the status (0: no answer), whether patience ended, and whether the answer was good."""
        pump = self._reactor.current
        assert pump is not None, "journeys are made in pumps"
        pump.set_deadline(deadline)
        try:
            answer = await plan.client.request(message)
        except DeadlineExceeded:
            return 0, True, False
        except FAILURES:
            return 0, False, False
        finally:
            pump.set_deadline(math.inf)
        return answer.status, False, plan.is_good(answer)
