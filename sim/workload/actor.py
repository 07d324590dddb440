"""Services that are an operator's own actor: `actor: module:Class` in a scenario.

    class Bucket:
        def __init__(self, env: Environment, settings: ActorSettings) -> None: ...
        async def run(self) -> None: ...   # until cancelled

It is started with its host and cancelled with it; after a restart it is a new object of a newly executed module. Everything
outside comes from `env` (see `mesh.runtime.environment`), spans of time from Trio. Then it is as repeatable as the rest of a
simulation, and runs on real sockets unchanged. What it opens it closes in a `finally`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

import attrs

from mesh.model.names import Address
from mesh.protocol.http1 import Request
from mesh.resources.documents import Value
from mesh.runtime.environment import Environment
from sim.workload.condition import Condition
from sim.workload.http_server import Exchange, Reply, serve_http
from sim.workload.observations import Arrival, ServiceTally
from sim.workload.settings import ServiceSettings


class ServiceMeter:
    """What the code of one instance reports: connections and requests, and the events it counts."""

    def __init__(self, settings: ServiceSettings, tally: ServiceTally, now: Callable[[], float]) -> None:
        self._settings = settings
        self._tally = tally
        self._now = now

    def connected(self) -> None:
        """A connection on which something was said."""
        self._tally.connections_at(self._arrival("")).append(self._now())

    def arrived(self, operation: str) -> None:
        """A request: `served(service GET /path)` in checks."""
        self._tally.requests_at(self._arrival(operation)).append(self._now())

    def count(self, event: str) -> None:
        """Count an event that the scenario lists in `counts`: `count(service.event)` in checks."""
        service = self._settings.service
        assert event in service.counts, f"'{event}' is not listed in counts of '{service.name}'"
        self._tally.events[f"{service.name}.{event}"] += 1

    def _arrival(self, operation: str) -> Arrival:
        settings = self._settings
        return Arrival(settings.service.name, settings.instance, settings.zone, operation)


@attrs.frozen(kw_only=True, eq=False)
class ActorSettings:
    """What an actor gets to know: who it is, where it listens, whom it can call, and what the scenario says to it."""

    service: str
    instance: str
    zone: str
    listen: Address  # behind its sidecar, which sends it what others ask of the service
    upstreams: Mapping[str, Address]  # the sidecar's address for each service in `calls`
    options: Mapping[str, Value]  # `settings` in the scenario
    meter: ServiceMeter


class Actor(Protocol):
    """An object of the operator's class."""

    async def run(self) -> None: ...


async def serve_requests(
    env: Environment, settings: ActorSettings, answer: Callable[[Request], Awaitable[Reply]]
) -> None:
    """Serve HTTP/1.1 where the actor listens, until cancelled: `answer` gets each request, in the task of its connection."""

    async def handle(exchange: Exchange) -> None:
        await exchange.reply(await answer(exchange.request))

    await serve_http(env, settings.listen, handle, settings.meter)


class _Unseen:
    """How busy foreign code is, nobody can see."""

    busy = 0
    working = 0
    waiting = 0


class ActorService:
    """One instance. Nothing that is wrong with it (`condition`) reaches into an actor but its end."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition) -> None:
        service = settings.service
        assert service.code is not None, "a service without code is modelled"
        self.env = env
        self.places = _Unseen()
        self._code = service.code
        self._settings = ActorSettings(
            service=service.name,
            instance=settings.instance,
            zone=settings.zone,
            listen=settings.listen,
            upstreams=settings.address_by_service,
            options=service.settings,
            meter=ServiceMeter(settings, tally, env.reactor.now),
        )

    async def run(self) -> None:
        """Run the actor until it is cancelled, or ends. Raises: CodeError, and what the actor raises."""
        make = cast(Callable[[Environment, ActorSettings], Actor], self._code.load())
        await make(self.env, self._settings).run()

    def crash(self) -> None:
        """Its cancellation is all that there is to it."""
