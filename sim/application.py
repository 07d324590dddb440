"""The application of one instance, as a process of its host: it can crash and be started again while host and sidecar live on."""

from collections.abc import Callable

import trio

from sim.host import Host
from sim.workload.service import ServiceInstance


class Application:
    """One incarnation of a host's; `make` makes what runs, anew for each start."""

    def __init__(self, host: Host, make: Callable[[], ServiceInstance]) -> None:
        self.service: ServiceInstance | None = None
        self._host = host
        self._make = make
        self._life = host.life
        self._scope = trio.CancelScope()

    @property
    def alive(self) -> bool:
        """Whether the host still has the power with which this was started."""
        return self._host.life is self._life and self._host.alive

    def start(self) -> None:
        """Start it, unless it runs, or its host is off."""
        if self.service is None and self.alive:
            self.service = self._make()
            self._scope = trio.CancelScope()
            self._host.spawn("application", self._run, self.service, self._scope)

    def crash(self) -> bool:
        """End it at once; what it has open is reset. False where it does not run."""
        service, self.service = self.service, None
        if service is None or not self.alive:
            return False
        self._host.world.log.record("application.crashed", self._host.name)
        service.crash()
        self._scope.cancel()
        return True

    @staticmethod
    async def _run(service: ServiceInstance, scope: trio.CancelScope) -> None:
        with scope:
            await service.run()
