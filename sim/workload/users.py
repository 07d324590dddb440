"""The users of one workload in one zone: they arrive (open) or go round (closed), make journeys, and have little patience.

Owns: when each journey starts and what it consists of. Accepts: more users for a while (`add_users`), that all leave and come
back (`leave`, `come_back`), a hot key (`hot_keys`). Emits: records into the UserLog it was given.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import trio

from mesh.model.randomness import Random
from mesh.runtime.environment import Environment
from mesh.runtime.pump import Pump
from sim.scenario.users import ClosedModel, Journey, OpenModel, Visit
from sim.workload.hot_key import HotKey
from sim.workload.http_client import HttpClient
from sim.workload.journeys import Choices, DrawnJourney, JourneySteps, VisitPlan
from sim.workload.messages import DrawnHeaders
from sim.workload.observations import UserLog
from sim.workload.settings import UsersSettings
from sim.workload.starts import Starts, make_more_starts, make_starts
from sim.workload.visiting import Visitor

Round = Callable[[float], Coroutine[Any, Any, None]]  # what a closed user does, after so many seconds

_STREAM = "users"


class Extra:
    """Users who were added; `started` counts their journeys. They leave after the journey under way when `going` ends."""

    def __init__(self) -> None:
        self.going = True
        self.started = 0


class Users:
    """See the module's text. `run` starts journeys until the end of the load, then waits to be cancelled."""

    def __init__(self, env: Environment, settings: UsersSettings, log: UserLog, *, origin_s: float = 0.0) -> None:
        """`origin_s`: what the log calls 0, in seconds of the reactor's clock."""
        self.env = env
        self.settings = settings
        self.log = log
        self.cut_off = 0  # journeys and users that were cut off, or kept away, by `leave`
        self._headers = DrawnHeaders(settings.workload.headers)
        self._clients = {
            service: HttpClient(env.reactor, address) for service, address in settings.address_by_service.items()
        }
        self._steps_by_journey = {j.name: self._compile(j) for j in settings.workload.journeys}
        self._visitor = Visitor(env.reactor, settings.workload, self._steps_by_journey, log, origin_s=origin_s)
        self._choices = self._choices_of()
        self._begin = 0.0  # when `run` began, by the reactor's clock
        self._away = False
        self._held: list[DrawnJourney] = []  # journeys that wait for their users to come back
        self._under_way: dict[Pump, DrawnJourney] = {}  # open model
        self._rounds: dict[Pump, Round] = {}  # closed model
        self._left: list[Round] = []

    @property
    def active(self) -> int:
        """Return how many journeys are under way."""
        return self._visitor.active

    @property
    def present(self) -> int:
        """Return how many users are there, each in a pump: on a journey, or thinking before the next."""
        return len(self._under_way) + len(self._rounds)

    @property
    def hot_keys(self) -> list[HotKey]:
        """What is hot now; may be added to and taken from."""
        return self._visitor.hot_keys

    async def run(self) -> None:
        """Start journeys; those under way at the end are finished."""
        reactor, settings = self.env.reactor, self.settings
        self._begin = reactor.now()
        match settings.workload.model:
            case OpenModel() as model:
                arriving = self._stream("arrivals")
                starts = make_starts(model, settings.share, arriving)
                reactor.start(self._arrive(starts, self._choices, Extra()), name="arrivals")
            case ClosedModel() as model:
                for user in range(settings.first_user, settings.first_user + settings.users):
                    random, lines = self._stream("user", user), self._headers.of(user)
                    self._send_round(model, random, lines, self._choices, Extra(), name="user")
        try:
            await trio.sleep_forever()
        finally:
            for client in self._clients.values():
                client.close()

    # What can happen to them.

    def add_users(self, factor: float, key: str) -> Extra:
        """Let there be `factor` times (above 1) as many; `key` names the streams of chance of the new ones."""
        reactor, settings, extra = self.env.reactor, self.settings, Extra()
        choices = self._choices_of("spike", key)
        match settings.workload.model:
            case OpenModel() as model:
                arriving = self._stream("spike", key, "arrivals")
                share = settings.share * (factor - 1.0)
                starts = make_more_starts(model, share, arriving, from_s=reactor.now() - self._begin)
                reactor.start(self._arrive(starts, choices, extra), name="more arrivals")
            case ClosedModel() as model:
                for user in range(round(settings.users * (factor - 1.0))):
                    random, lines = self._stream("spike", key, user), self._headers.of(user)
                    self._send_round(model, random, lines, choices, extra, name="one more user")
        return extra

    def leave(self) -> None:
        """Cut all users off: what they do ends, their connections are dropped, and whoever arrives has to wait."""
        self._away = self._visitor.leaving = True
        self._held += self._under_way.values()
        self._left += self._rounds.values()
        self.cut_off += len(self._held) + len(self._left)
        for pump in [*self._under_way, *self._rounds]:
            pump.cancel()
        self._visitor.leaving = False
        for client in self._clients.values():
            client.pool.drop_idle()

    def come_back(self, over_s: float, key: str) -> None:
        """Let all who left begin again: at once, or (`over_s`) each at a moment drawn from that span."""
        self._away = False
        reactor, random = self.env.reactor, self._stream("herd", key)
        held, left = self._held, self._left
        self._held, self._left = [], []
        if reactor.now() - self._begin >= self.settings.until_s:
            return
        for drawn in held:
            delay_s = random.random() * over_s if over_s else 0.0
            reactor.start(self._make(drawn, reactor.now() + delay_s), name="journey")
        for go_on in left:
            reactor.start(go_on(random.random() * over_s if over_s else 0.0), name="user")

    # When journeys start.

    async def _arrive(self, starts: Starts, choices: Choices, extra: Extra) -> None:
        reactor = self.env.reactor
        while True:
            due_s = starts.next()
            if due_s > self.settings.until_s:
                return
            wait_s = self._begin + due_s - reactor.now()
            if wait_s > 0:
                await reactor.sleep(wait_s)
            if not extra.going:
                return
            extra.started += 1
            drawn = choices.draw()
            if self._away:
                self.cut_off += 1
                self._held.append(drawn)
            else:
                reactor.start(self._make(drawn, self._begin + due_s), name="journey")

    async def _make(self, drawn: DrawnJourney, intended: float) -> None:
        reactor = self.env.reactor
        pump = reactor.current
        assert pump is not None, "journeys are made in pumps"
        self._under_way[pump] = drawn
        try:
            if intended > reactor.now():
                await reactor.sleep(intended - reactor.now())
            await self._visitor.make(drawn, intended)
        finally:
            del self._under_way[pump]

    def _send_round(
        self, model: ClosedModel, random: Random, lines: bytes, choices: Choices, extra: Extra, *, name: str
    ) -> None:
        reactor = self.env.reactor
        end = self._begin + self.settings.until_s

        async def go_round(after_s: float) -> None:
            pump = reactor.current
            assert pump is not None, "users go round in pumps"
            self._rounds[pump] = go_round
            try:
                await reactor.sleep(after_s)
                while extra.going and reactor.now() < end:
                    extra.started += 1
                    await self._visitor.make(choices.draw(lines), reactor.now())
                    await reactor.sleep(max(model.think.draw(random), 1e-6))
            finally:
                del self._rounds[pump]

        # Users who all begin at once would stay in step for a while.
        reactor.start(go_round(model.think.mean_s * random.random()), name=name)

    # What they are made of.

    def _stream(self, *purpose: str | int) -> Random:
        return self.env.randomness.stream(_STREAM, self.settings.workload.name, *purpose)

    def _choices_of(self, *group: str) -> Choices:
        workload = self.settings.workload
        return Choices(workload, self._steps_by_journey, self._headers, lambda purpose: self._stream(*group, purpose))

    def _compile(self, journey: Journey) -> JourneySteps:
        return tuple(self._visit_plan(step) if isinstance(step, Visit) else None for step in journey.steps)

    def _visit_plan(self, visit: Visit) -> VisitPlan:
        operation = visit.operation
        endpoint = self.settings.called.get((operation.service, operation.verb, operation.path))
        return VisitPlan(visit, self._clients[operation.service], endpoint, self.settings.workload.headers)
