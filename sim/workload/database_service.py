"""One instance of a database service: its listener and what it speaks.

Owns: its places. Accepts: PostgreSQL's or Redis' protocol on its address; `slow_factor` may be set while it runs.
Emits: counts into the ServiceTally it was given.
"""

import trio

from mesh.runtime.environment import Connection, Environment
from sim.scenario.topology import Failure, ServiceKind
from sim.workload.database import DatabaseInstance
from sim.workload.observations import ServiceTally
from sim.workload.places import Places
from sim.workload.postgresql import serve_postgresql
from sim.workload.redis import serve_redis
from sim.workload.settings import ServiceSettings


class DatabaseService:
    """See the module's text. `run` serves until cancelled."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally) -> None:
        self.env = env
        self.failures: tuple[Failure, ...] = ()
        self.settings = settings
        self._instance = DatabaseInstance(env, settings, tally)
        self._serve = serve_redis if settings.service.kind is ServiceKind.REDIS else serve_postgresql

    @property
    def places(self) -> Places:
        return self._instance.places

    @property
    def slow_factor(self) -> float:
        return self._instance.slow_factor

    @slow_factor.setter
    def slow_factor(self, factor: float) -> None:
        self._instance.slow_factor = factor

    async def run(self) -> None:
        """Serve until cancelled."""
        listener = self.env.reactor.listen(self.settings.listen, self._serve_one)
        try:
            await trio.sleep_forever()
        finally:
            listener.close()

    async def _serve_one(self, connection: Connection) -> None:
        # Clients speak first in both protocols; a probe says nothing.
        first = await connection.receive()
        if not first:
            return
        connection.unread(first)
        self._instance.connections.append(self.env.reactor.now())
        await self._serve(connection, self._instance)
