"""One instance of a database: statements take a place, some time, and leave. What it speaks is the business of others."""

from mesh.runtime.environment import Environment
from sim.workload.observations import Arrival, ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings


class DatabaseInstance:
    """Owns: the places of one instance and its stream of service times."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally) -> None:
        service = settings.service
        arrival = Arrival(service.name, settings.instance, settings.zone, "")
        self.connections = tally.connections_at(arrival)
        self._arrivals = tally.requests_at(arrival)
        self.places = Places(env.reactor, concurrency=service.concurrency, queue=service.queue)
        self.slow_factor = 1.0
        self._service = service
        self._reactor = env.reactor
        self._random = env.randomness.stream("database", "work")
        self._tally = tally

    async def execute(self, verb: str) -> bool:
        """Run one statement; False at once when too many wait already."""
        self._arrivals.append(self._reactor.now())
        if not await self.places.enter():
            self._tally.refused[self._service.name] += 1
            return False
        try:
            work_s = self._service.work.draw(self._random) * self.slow_factor
            if work_s:
                await self._reactor.sleep(work_s)
        finally:
            self.places.leave()
        self._tally.statements[self._service.name, verb] += 1
        return True
