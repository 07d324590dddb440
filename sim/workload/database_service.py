"""One instance of a database service: its listener and what it speaks.

Owns: its places. Accepts: PostgreSQL's or Redis' protocol on its address; what its `condition` says.
Emits: counts into the ServiceTally it was given.
"""

import trio

from mesh.runtime.environment import Connection, Environment
from sim.scenario.topology import ServiceKind
from sim.workload.condition import Condition
from sim.workload.database import DatabaseInstance
from sim.workload.doors import Doors
from sim.workload.observations import ServiceTally
from sim.workload.places import Places
from sim.workload.postgresql import serve_postgresql
from sim.workload.redis import serve_redis
from sim.workload.settings import ServiceSettings


class DatabaseService:
    """See the module's text. `run` serves until cancelled."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition) -> None:
        self.env = env
        self.settings = settings
        self.condition = condition
        self._instance = DatabaseInstance(env, settings, tally, condition)
        self._serve = serve_redis if settings.service.kind is ServiceKind.REDIS else serve_postgresql
        self._doors = Doors(env.reactor, self._serve_one)

    @property
    def places(self) -> Places:
        return self._instance.places

    async def run(self) -> None:
        """Serve until cancelled."""
        self.condition.attach(self._instance.freed.wake_all)
        self._doors.open(self.settings.listen)
        try:
            await trio.sleep_forever()
        finally:
            self._doors.close()

    def crash(self) -> None:
        """End at once; whoever runs this cancels `run`."""
        self._doors.slam()

    async def _serve_one(self, connection: Connection) -> None:
        # Clients speak first in both protocols; a probe says nothing.
        first = await connection.receive()
        if not first:
            return
        connection.unread(first)
        self._instance.connections.append(self.env.reactor.now())
        await self._serve(connection, self._instance)
