"""One instance of a database: statements take a place, some time, and leave. What it speaks is the business of others."""

from mesh.runtime.environment import Environment
from mesh.runtime.pump import Signal
from sim.workload.condition import Condition, wait_while_stuck
from sim.workload.locks import Locks, ReadWriteLock
from sim.workload.observations import Arrival, ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings
from sim.workload.stored_keys import StoredKeys


class DatabaseInstance:
    """Owns: the places, locks and stored keys of one instance, and its stream of service times."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition) -> None:
        service = settings.service
        arrival = Arrival(service.name, settings.instance, settings.zone, "")
        self.connections = tally.connections_at(arrival)
        self._arrivals = tally.requests_at(arrival)
        self.places = Places(env.reactor, concurrency=service.concurrency, queue=service.queue)
        self.keys = StoredKeys(full=settings.caches_full)
        self.open = 0  # connections
        self.freed = Signal(env.reactor)  # who is stuck waits here
        self._locks = Locks(env.reactor) if service.locks else None
        self._service = service
        self._reactor = env.reactor
        self._random = env.randomness.stream("database", "work")
        self._grey_random = env.randomness.stream("database", "grey")
        self._tally = tally
        self._condition = condition

    @property
    def accepts(self) -> bool:
        """Is there room for one more connection?"""
        return not self._service.connections or self.open < self._service.connections

    async def execute(self, verb: str, table: str = "") -> bool:
        """Run one statement; False at once when too many wait already."""
        self._arrivals.append(self._reactor.now())
        if not await self.places.enter():
            self._tally.refused[self._service.name] += 1
            return False
        try:
            if self._condition.stuck:
                await wait_while_stuck(self._condition, self.freed)
            if self._locks is None:
                await self._work()
            else:
                await self._work_holding(self._locks.named(table), shared=verb == "SELECT")
        finally:
            self.places.leave()
        self._tally.statements[self._service.name, verb] += 1
        return True

    async def _work_holding(self, lock: ReadWriteLock, *, shared: bool) -> None:
        await lock.acquire(shared=shared)
        try:
            await self._work()
        finally:
            lock.release(shared=shared)

    async def _work(self) -> None:
        condition, places = self._condition, self.places
        work_s = self._service.work.draw(self._random) * condition.factor
        if condition.greys:
            work_s *= condition.factor_for("", self._grey_random)
        if self._service.contention:
            work_s *= 1.0 + self._service.contention * places.working
        if work_s:
            places.working += 1
            try:
                await self._reactor.sleep(work_s)
            finally:
                places.working -= 1
