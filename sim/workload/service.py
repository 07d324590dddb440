"""The service model: whichever kind of service an instance runs, as one actor against Environment."""

from typing import Protocol

from mesh.runtime.environment import Environment
from sim.scenario.topology import Failure, ServiceKind
from sim.workload.database_service import DatabaseService
from sim.workload.http_service import HttpService
from sim.workload.observations import ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings


class ServiceInstance(Protocol):
    """One running instance."""

    slow_factor: float  # multiplies its work, now and later
    failures: tuple[Failure, ...]  # that answer instead of its work; databases have none

    @property
    def places(self) -> Places: ...

    async def run(self) -> None:
        """Serve until cancelled; the host's reactor has to run beside it."""
        ...


def make_service(env: Environment, settings: ServiceSettings, tally: ServiceTally) -> ServiceInstance:
    """Return the actor of one instance."""
    if settings.service.kind is ServiceKind.HTTP:
        return HttpService(env, settings, tally)
    return DatabaseService(env, settings, tally)
