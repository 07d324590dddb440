"""The steps of an endpoint, compiled once per instance: what one request does, as coroutines for pumps.

A step that cannot be done raises StepFailed, with the name of the call that failed. Optional calls swallow it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mesh.model.errors import BrokenConnection, ClosedConnection, DeadlineExceeded, MeshError, RemoteProtocolError
from mesh.model.randomness import Random
from mesh.runtime.environment import Reactor
from mesh.runtime.pump import Signal
from sim.scenario.distributions import Distribution

# An application that names no timeout still gives up some day; also what bounds a statement whose database is gone.
CALL_TIMEOUT_S = 30.0

GOOD, BAD = 200, 500  # What a call returns that has no status: anything from 400 on is bad.
_BAD_MIN = 400

FAILURES = (BrokenConnection, ClosedConnection, RemoteProtocolError, DeadlineExceeded)


class StepFailed(MeshError):
    """An upstream's: a required call got no usable answer. The endpoint answers 503 and names it."""


class Inbound:
    """What a request brings along: header lines to pass on, and its delivery id, which each call extends."""

    __slots__ = ("delivery", "lines")

    def __init__(self, lines: bytes, delivery: bytes) -> None:
        self.lines = lines
        self.delivery = delivery


class StepPlan(Protocol):
    """One step, ready to run any number of times."""

    async def run(self, inbound: Inbound) -> None:
        """Do it. Raises: StepFailed."""
        ...


class WorkPlan:
    """Computing time, multiplied while the instance is slow."""

    __slots__ = ("_factor", "_random", "_reactor", "_time")

    def __init__(self, reactor: Reactor, time: Distribution, random: Random, factor: Callable[[], float]) -> None:
        self._reactor = reactor
        self._time = time
        self._random = random
        self._factor = factor

    async def run(self, inbound: Inbound) -> None:
        seconds = self._time.draw(self._random) * self._factor()
        if seconds:
            await self._reactor.sleep(seconds)


class CallPlan:
    """A call: `send` does it and returns the status of the answer."""

    __slots__ = ("_optional", "_reactor", "_send", "_timeout_s", "_title")

    def __init__(self, reactor: Reactor, title: str, timeout_s: float, optional: bool, send: "Send") -> None:
        self._reactor = reactor
        self._title = title
        self._timeout_s = timeout_s or CALL_TIMEOUT_S
        self._optional = optional
        self._send = send

    async def run(self, inbound: Inbound) -> None:
        pump = self._reactor.current
        assert pump is not None
        previous = pump.deadline
        deadline = self._reactor.now() + self._timeout_s
        pump.set_deadline(deadline if deadline < previous else previous)
        try:
            status = await self._send(inbound)
        except FAILURES as error:
            if self._optional:
                return
            raise StepFailed(f"{self._title}: {type(error).__name__} {error}".rstrip()) from error
        finally:
            pump.set_deadline(previous)
        if status >= _BAD_MIN and not self._optional:
            raise StepFailed(f"{self._title}: answered with an error")


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
