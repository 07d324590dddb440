"""Supervision: run actors, make a new one when one crashes, give up when that does not help.

One for one: a crash touches its own actor alone. Between restarts the pause doubles, with jitter; more crashes within
the window than allowed end the supervisor and with it the other children, so that whoever supervises it decides.
This is the one place that catches every exception: anything an actor lets through is a bug in it.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio
from structlog.typing import FilteringBoundLogger

from mesh.model.errors import MeshError
from mesh.model.randomness import Random
from mesh.runtime.actor import Actor


@attrs.frozen(kw_only=True)
class RestartPolicy:
    """How patient a supervisor is: at most `restarts_max` within `window_s`, for each actor on its own.

    The n-th restart within the window waits backoff_s_base * 2**(n-1), at most backoff_s_max, times 0.5 to 1.
    """

    backoff_s_base: float = attrs.field(default=0.1, validator=attrs.validators.gt(0.0))
    backoff_s_max: float = attrs.field(default=10.0, validator=attrs.validators.gt(0.0))
    restarts_max: int = attrs.field(default=5, validator=attrs.validators.ge(0))
    window_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0.0))


@attrs.define
class RestartHistory:
    """The recent crashes of one actor. Pure."""

    policy: RestartPolicy
    _crashed_at: deque[float] = attrs.field(factory=deque)

    def after_crash(self, *, now: float, random: Random) -> float:
        """Return the seconds to wait before the restart; inf when the limit is reached."""
        policy = self.policy
        self._crashed_at.append(now)
        while self._crashed_at[0] <= now - policy.window_s:
            self._crashed_at.popleft()
        crashes = len(self._crashed_at)
        if crashes > policy.restarts_max:
            return math.inf
        # Half of the pause is certain, half is chance: actors that crashed together do not return together.
        pause_s: float = min(policy.backoff_s_base * 2 ** (crashes - 1), policy.backoff_s_max)
        return pause_s * random.uniform(0.5, 1.0)


class ActorGaveUp(MeshError):
    """Ours: an actor crashed more often than its policy allows; the cause is its last crash. For the supervisor above."""

    def __init__(self, name: str) -> None:
        super().__init__(f"actor {name} crashed too often")
        self.name = name


class Supervisor:
    """Runs actors until they end; itself an actor, so that supervisors form a tree."""

    def __init__(
        self, name: str, *, log: FilteringBoundLogger, random: Random, policy: RestartPolicy | None = None
    ) -> None:
        self.name = name
        self._log = log.bind(supervisor=name)
        self._random = random
        self._policy = policy or RestartPolicy()
        self._nursery: trio.Nursery | None = None
        self._waiting: list[tuple[str, Callable[[], Actor]]] = []  # added before `run`
        self._gave_up: ActorGaveUp | None = None

    def add(self, name: str, make_actor: Callable[[], Actor]) -> None:
        """Supervise an actor; `make_actor` is called for its start and for each restart."""
        if self._nursery is None:
            self._waiting.append((name, make_actor))
        else:
            self._nursery.start_soon(self._supervise, name, make_actor, name=name)

    async def run(self) -> None:
        """Run until all actors have ended by themselves. Raises: ActorGaveUp."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for name, make_actor in self._waiting:
                nursery.start_soon(self._supervise, name, make_actor, name=name)
            self._waiting.clear()
        self._nursery = None
        if self._gave_up is not None:
            raise self._gave_up

    async def _supervise(self, name: str, make_actor: Callable[[], Actor]) -> None:
        history = RestartHistory(self._policy)
        while True:
            crash = await self._crash_of(name, lambda: make_actor().run())
            if crash is None:
                return
            pause_s = history.after_crash(now=trio.current_time(), random=self._random)
            if pause_s == math.inf:
                self._give_up(name, crash)
                return
            await trio.sleep(pause_s)
            self._log.info("actor.restarted", actor=name, pause_s=round(pause_s, 3))

    async def _crash_of(self, name: str, live: Callable[[], Awaitable[None]]) -> Exception | None:
        try:
            await live()
        except Exception as error:
            self._log.error("actor.crashed", actor=name, exc_info=error)
            return error
        except BaseExceptionGroup as group:
            # A crash while being cancelled: report the crash, and let the cancellation pass.
            cancelled, crash = group.split(trio.Cancelled)
            if cancelled is None or crash is None:
                raise
            self._log.error("actor.crashed", actor=name, exc_info=crash)
            raise cancelled from None
        return None

    def _give_up(self, name: str, crash: Exception) -> None:
        self._log.error("actor.gave_up", actor=name, restarts_max=self._policy.restarts_max)
        if self._gave_up is None:
            self._gave_up = ActorGaveUp(name)
            self._gave_up.__cause__ = crash
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
