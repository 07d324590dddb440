"""The service model: whichever kind of service an instance runs, as one actor against Environment."""

from typing import Protocol

from mesh.runtime.environment import Environment
from sim.scenario.code import CodeKind
from sim.scenario.topology import ServiceKind
from sim.workload.actor import ActorService
from sim.workload.asgi_service import AsgiService
from sim.workload.condition import Condition
from sim.workload.database_service import DatabaseService
from sim.workload.http_service import HttpService
from sim.workload.observations import ServiceTally
from sim.workload.settings import ServiceSettings


class Load(Protocol):
    """How busy an instance is, in requests."""

    @property
    def busy(self) -> int: ...
    @property
    def working(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class ServiceInstance(Protocol):
    """One running instance."""

    @property
    def places(self) -> Load: ...

    async def run(self) -> None:
        """Serve until cancelled; the host's reactor has to run beside it."""
        ...

    def crash(self) -> None:
        """Drop everybody without a word, as a process that dies; then `run` is to be cancelled."""
        ...


def make_service(
    env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition | None = None
) -> ServiceInstance:
    """Return the actor of one instance. `condition`: what is wrong with it, now and later; nothing by default."""
    service, condition = settings.service, condition or Condition()
    if service.code is not None:
        code = ActorService if service.code.kind is CodeKind.ACTOR else AsgiService
        return code(env, settings, tally, condition)
    if service.kind is ServiceKind.HTTP:
        return HttpService(env, settings, tally, condition)
    return DatabaseService(env, settings, tally, condition)
