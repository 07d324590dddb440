"""The steps of an endpoint, compiled once per instance: what one request does, as coroutines for pumps.

A step that cannot be done raises StepFailed, with the name of the call that failed. Optional calls swallow it.
"""

from collections.abc import Awaitable
from typing import Protocol

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded, MeshError, RemoteProtocolError
from mesh.model.randomness import Random
from mesh.runtime.environment import Reactor
from mesh.runtime.pump import Signal
from sim.scenario.distributions import Distribution
from sim.scenario.retries import BROKEN, TIMED_OUT, Retries
from sim.scenario.topology import Call
from sim.workload.condition import Condition
from sim.workload.locks import ReadWriteLock
from sim.workload.places import Places

# An application that names no timeout still gives up some day; also what bounds a statement whose database is gone.
CALL_TIMEOUT_S = 30.0

GOOD, BAD = 200, 500  # What a call returns that has no status: anything from 400 on is bad.
_BAD_MIN = 400

FAILURES = (BrokenConnection, ClosedConnection, RemoteProtocolError, DeadlineExceeded)


class StepFailed(MeshError):
    """An upstream's: a required call got no usable answer. The endpoint answers 503 and names it."""


class Inbound:
    """What a request brings along: header lines to pass on, and its delivery id, which each call extends.

    `factor`: how many times as long as for others work takes for it.
    """

    __slots__ = ("delivery", "factor", "lines")

    def __init__(self, lines: bytes, delivery: bytes, factor: float = 1.0) -> None:
        self.lines = lines
        self.delivery = delivery
        self.factor = factor


class StepPlan(Protocol):
    """One step, ready to run any number of times."""

    async def run(self, inbound: Inbound) -> None:
        """Do it. Raises: StepFailed."""
        ...


class WorkPlan:
    """Computing time, multiplied while the instance is slow; it counts as at work meanwhile."""

    __slots__ = ("_condition", "_places", "_random", "_reactor", "_time")

    def __init__(
        self, reactor: Reactor, time: Distribution, random: Random, condition: Condition, places: Places
    ) -> None:
        self._reactor = reactor
        self._time = time
        self._random = random
        self._condition = condition
        self._places = places

    async def run(self, inbound: Inbound) -> None:
        seconds = self._time.draw(self._random) * self._condition.factor * inbound.factor
        if seconds:
            places = self._places
            places.working += 1
            try:
                await self._reactor.sleep(seconds)
            finally:
                places.working -= 1


class LockedPlan:
    """A step done alone, or (`shared`) together with others that share the lock."""

    __slots__ = ("_lock", "_plan", "_shared")

    def __init__(self, plan: StepPlan, lock: ReadWriteLock, *, shared: bool) -> None:
        self._plan = plan
        self._lock = lock
        self._shared = shared

    async def run(self, inbound: Inbound) -> None:
        await self._lock.acquire(shared=self._shared)
        try:
            await self._plan.run(inbound)
        finally:
            self._lock.release(shared=self._shared)


class CallPlan:
    """A call: `send` does it and returns the status of the answer. With `retries` it is tried again, each try in its own time."""

    __slots__ = ("_optional", "_random", "_reactor", "_retries", "_send", "_timeout_s", "_title")

    def __init__(self, reactor: Reactor, call: Call, send: "Send", random: Random) -> None:
        self._reactor = reactor
        self._title = str(call.operation)
        self._timeout_s = call.timeout_s or CALL_TIMEOUT_S
        self._optional = call.optional
        self._retries = call.retries
        self._send = send
        self._random = random

    async def run(self, inbound: Inbound) -> None:
        status, error = await self._try(inbound)
        if self._retries is not None:
            number = 0
            while number < self._retries.count and self._retries.wants(status):
                await pause_before_retry(self._reactor, self._retries, number, self._random)
                status, error = await self._try(inbound)
                number += 1
        if self._optional:
            return
        if error is not None:
            raise StepFailed(f"{self._title}: {type(error).__name__} {error}".rstrip()) from error
        if status >= _BAD_MIN:
            raise StepFailed(f"{self._title}: answered with an error")

    async def _try(self, inbound: Inbound) -> tuple[int, MeshError | None]:
        """Return the status of the answer, or what came instead."""
        pump = self._reactor.current
        assert pump is not None
        previous = pump.deadline
        deadline = self._reactor.now() + self._timeout_s
        pump.set_deadline(deadline if deadline < previous else previous)
        try:
            return await self._send(inbound), None
        except DeadlineExceeded as error:
            return TIMED_OUT, error
        except FAILURES as error:
            return BROKEN, error
        finally:
            pump.set_deadline(previous)


async def pause_before_retry(reactor: Reactor, retries: Retries, number: int, random: Random) -> None:
    """From a pump: wait before the retry with this number, from 0."""
    pause_s = retries.pause_bound_s(number)
    if retries.jitter and pause_s:
        pause_s *= random.random()
    if pause_s:
        await reactor.sleep(pause_s)


class Send(Protocol):
    """Sends one call for a request and returns the status of the answer."""

    def __call__(self, inbound: Inbound) -> Awaitable[int]: ...


class ParallelPlan:
    """Steps at once, each in a pump of its own; fails after all have ended, with the first failure."""

    __slots__ = ("_plans", "_reactor")

    def __init__(self, reactor: Reactor, plans: tuple[StepPlan, ...]) -> None:
        self._reactor = reactor
        self._plans = plans

    async def run(self, inbound: Inbound) -> None:
        join = _Join(self._reactor, len(self._plans))
        pumps = [self._reactor.start(join.run(plan, inbound), name="parallel-step") for plan in self._plans]
        try:
            while join.left:
                await join.signal.wait()
        except BaseException:
            for pump in pumps:
                pump.cancel()
            raise
        if join.failure is not None:
            raise join.failure


class _Join:
    """How many branches still run, and how the first of those that failed did."""

    __slots__ = ("failure", "left", "signal")

    def __init__(self, reactor: Reactor, left: int) -> None:
        self.left = left
        self.signal = Signal(reactor)
        self.failure: StepFailed | None = None

    async def run(self, plan: StepPlan, inbound: Inbound) -> None:
        try:
            await plan.run(inbound)
        except StepFailed as error:
            self.failure = self.failure or error
        finally:
            self.left -= 1
            if not self.left:
                self.signal.wake()
