"""The endpoints of one HTTP instance, compiled once: what a request does, whom it calls, what is answered."""

from collections.abc import MutableSequence

import attrs

from mesh.model.randomness import Random
from mesh.protocol.http1 import RequestHead
from mesh.runtime.environment import Environment
from sim.scenario.topology import Cached, Call, Endpoint, Parallel, Step, Work
from sim.workload.caching import Cache, CachedPlan, OwnCache, SharedCache
from sim.workload.condition import Condition
from sim.workload.database_client import CONNECTIONS_MAX, DatabaseClient
from sim.workload.http_client import HttpClient
from sim.workload.locks import Locks
from sim.workload.messages import DrawnHeaders, body_of, is_idempotent, reply, request_message
from sim.workload.observations import ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings
from sim.workload.steps import CallPlan, Inbound, LockedPlan, ParallelPlan, Send, StepPlan, WorkPlan


class EndpointPlan:
    """One endpoint, compiled."""

    __slots__ = (
        "answer",
        "arrivals",
        "calls",
        "counted",
        "counts_deliveries",
        "failures",
        "key",
        "lines",
        "random",
        "required",
        "steps",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        service: str,
        steps: tuple[StepPlan, ...],
        random: Random,
        arrivals: MutableSequence[float],
    ) -> None:
        self.arrivals = arrivals
        self.lines = b"".join(line for header in endpoint.headers for line in header.lines())
        self.required = tuple((header.name.encode(), header.values[0].encode()) for header in endpoint.required)
        self.calls = any(not isinstance(step, Work) for step in endpoint.steps)
        self.counts_deliveries = not endpoint.idempotent
        self.key = (service, endpoint.operation)
        self.counted = f"{service}.{endpoint.counts}" if endpoint.counts else ""
        self.steps = steps
        self.random = random
        self.answer = reply(200, b"." * endpoint.response_bytes, self.lines)
        self.failures = endpoint.failures

    def accepts(self, head: RequestHead) -> bool:
        """Does a request have the headers that the endpoint requires?"""
        return all(head.header(name) == value for name, value in self.required)


class StepCompiler:
    """Compiles the steps of one instance. Owns its pools of connections to the services it calls, its locks and caches."""

    def __init__(
        self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition, places: Places
    ) -> None:
        self._env = env
        self._settings = settings
        self._tally = tally
        self._condition = condition
        self._places = places
        self._locks = Locks(env.reactor)
        self._pools = dict(settings.service.pools)
        self._http: dict[str, HttpClient] = {}
        self._databases: dict[str, DatabaseClient] = {}

    def close(self) -> None:
        """Close what is idle in the pools."""
        for client in self._http.values():
            client.close()
        for database in self._databases.values():
            database.close()

    def compile(self, endpoint: Endpoint, arrivals: MutableSequence[float]) -> EndpointPlan:
        """Compile an endpoint; `arrivals`: what the moments of its requests are appended to."""
        stream = self._env.randomness.stream
        work = stream("service", "work", endpoint.operation)
        counter = [0]
        steps = tuple(self._step(step, work, counter) for step in endpoint.steps)
        failing = stream("service", "failures", endpoint.operation)
        return EndpointPlan(endpoint, self._settings.service.name, steps, failing, arrivals)

    def _step(self, step: Step, work: Random, counter: list[int]) -> StepPlan:
        reactor = self._env.reactor
        match step:
            case Work():
                plan = WorkPlan(reactor, step.time, work, self._condition, self._places)
                return LockedPlan(plan, self._locks.named(step.lock), shared=step.shared) if step.lock else plan
            case Parallel(steps=steps):
                return ParallelPlan(reactor, tuple(self._step(branch, work, counter) for branch in steps))
            case Cached():
                counter[0] += 1
                return self._cached(step, counter[0])
            case Call():
                counter[0] += 1
                return self._call(step, counter[0])

    def _call(self, call: Call, number: int) -> CallPlan:
        retrying = self._env.randomness.stream("service", "retries", str(call.operation), number)
        return CallPlan(self._env.reactor, call, self._sender(call, number), retrying)

    def _cached(self, step: Cached, number: int) -> CachedPlan:
        call, tally, service = step.call, self._tally.cached, self._settings.service.name
        cache: Cache = OwnCache(full=self._settings.caches_full)
        if step.service:
            # Instances of a service share what they keep there.
            cache = SharedCache(self._env.reactor, self._database(step.service), f"{service} {call.operation} {number}")

        def note(hit: bool) -> None:
            tally[service, hit] += 1

        return CachedPlan(
            cache,
            self._call(attrs.evolve(call, optional=False), number),
            self._env.randomness.stream("service", "cache", str(call.operation), number),
            keys=step.keys,
            share=step.share,
            optional=call.optional,
            note=note,
        )

    def _sender(self, call: Call, number: int) -> Send:
        operation = call.operation
        if operation.service in self._settings.database_kind_by_service:
            return self._database(operation.service).sender(operation.verb, operation.target)
        called = self._settings.called.get((operation.service, operation.verb, operation.path))
        client = self._http.get(operation.service)
        if client is None:
            address = self._settings.address_by_service[operation.service]
            client = self._http[operation.service] = HttpClient(self._env.reactor, address)
        before, after = request_message(operation, body_of(call.body, called), call.headers)
        drawn = DrawnHeaders(call.headers)
        random = self._env.randomness.stream("service", "headers", str(operation), number)
        suffix = b"" if is_idempotent(operation, called) else b".%d\r\n" % number

        async def send(inbound: Inbound) -> int:
            lines = inbound.lines
            if suffix:
                lines = b"%bx-delivery-id: %b%b" % (lines, inbound.delivery, suffix)
            if drawn:
                lines += drawn.draw(random)
            answer = await client.request(b"%b%b%b" % (before, lines, after))
            return answer.status

        return send

    def _database(self, service: str) -> DatabaseClient:
        client = self._databases.get(service)
        if client is None:
            address = self._settings.address_by_service[service]
            kind = self._settings.database_kind_by_service[service]
            most = self._pools.get(service, CONNECTIONS_MAX)
            client = DatabaseClient(self._env.reactor, address, kind, connections_max=most)
            self._databases[service] = client
        return client
