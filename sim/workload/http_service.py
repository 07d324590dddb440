"""One instance of an HTTP service: takes requests into its places, runs the steps of the endpoint, answers.

Owns: its places, its pools of connections to the services it calls, its streams of chance.
Accepts: HTTP/1.1 requests on its address; `slow_factor` and `failures` may be set while it runs.
Emits: counts into the ServiceTally it was given. Knows nothing of the mesh but the addresses it calls.

Passes on `traceparent`, `tracestate` and `x-request-id`, as every application in a mesh has to.
"""

from collections.abc import MutableSequence

import trio

from mesh.model.randomness import Random
from mesh.protocol.http1 import BodyKind, BodyReader, RequestHead, RequestParser
from mesh.runtime.environment import Connection, Environment
from sim.scenario.topology import Call, Endpoint, Failure, Parallel, Step, Work
from sim.workload.database_client import DatabaseClient
from sim.workload.http_client import HttpClient
from sim.workload.messages import DrawnHeaders, reply, request_message
from sim.workload.observations import Arrival, ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings
from sim.workload.steps import CallPlan, Inbound, ParallelPlan, Send, StepFailed, StepPlan, WorkPlan

_RESET = 0  # The status of a failure that is no answer.
_BAD_REQUEST = 400
_NOT_FOUND = reply(404, b"no such endpoint\n")
_NOTHING_TO_PASS_ON = Inbound(b"", b"")
_FULL = reply(503, b"queue is full\n")


class _EndpointPlan:
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


def _drawn_failure(failures: tuple[Failure, ...], random: Random) -> Failure | None:
    """Draw whether a request fails before any work is done."""
    left = random.random()
    for failure in failures:
        left -= failure.share
        if left < 0:
            return failure
    return None


class HttpService:
    """See the module's text. `run` serves until cancelled."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally) -> None:
        self.env = env
        self.settings = settings
        self.tally = tally
        self.slow_factor = 1.0
        self.failures: tuple[Failure, ...] = ()  # beside those of its endpoints
        self._failing = env.randomness.stream("service", "failures")
        service = settings.service
        self.places = Places(env.reactor, concurrency=service.concurrency, queue=service.queue)
        self._http: dict[str, HttpClient] = {}
        self._databases: dict[str, DatabaseClient] = {}
        # A path is compared whole, without its query.
        self._plans = {
            (endpoint.verb.encode(), endpoint.path.encode()): self._endpoint_plan(endpoint)
            for endpoint in service.endpoints
        }
        self._strays = self._arrivals("")
        self._connections = tally.connections_at(self._arrival(""))

    async def run(self) -> None:
        """Serve until cancelled."""
        listener = self.env.reactor.listen(self.settings.listen, self._serve)
        try:
            await trio.sleep_forever()
        finally:
            listener.close()
            for client in self._http.values():
                client.close()
            for database in self._databases.values():
                database.close()

    async def _serve(self, connection: Connection) -> None:
        """Answer the requests of one connection, one after the other."""
        parser = RequestParser()
        buffer, silent = b"", True
        while True:
            parsed = parser.parse(buffer) if buffer else None
            while parsed is None:
                data = await connection.receive()
                if not data:
                    return
                if silent:
                    silent = False
                    self._connections.append(self.env.reactor.now())
                buffer = buffer + data if buffer else data
                parsed = parser.parse(buffer)
            head, size = parsed
            buffer = buffer[size:]
            if head.body is not BodyKind.NONE:
                buffer = await _skip_body(connection, head, buffer)
            if not await self._answer(connection, head) or not head.keep_alive:
                return

    async def _answer(self, connection: Connection, head: RequestHead) -> bool:
        """Answer one request; False when the connection is gone."""
        plan = self._plans.get((head.method, head.path))
        (self._strays if plan is None else plan.arrivals).append(self.env.reactor.now())
        if plan is None:
            await connection.send(_NOT_FOUND)
            return True
        if not self.places.take_free() and not await self.places.enter():
            self.tally.refused[plan.key[0]] += 1
            await connection.send(_FULL)
            return True
        try:
            answer = await self._execute(plan, head)
        finally:
            self.places.leave()
        if answer is None:
            connection.abort()
            return False
        await connection.send(answer)
        return True

    async def _execute(self, plan: _EndpointPlan, head: RequestHead) -> bytes | None:
        """Do what the endpoint does; None for a reset."""
        tally = self.tally
        if plan.failures or self.failures:
            failure = _drawn_failure(self.failures, self._failing) or _drawn_failure(plan.failures, plan.random)
            if failure is not None:
                tally.failed[plan.key] += 1
                return None if failure.status == _RESET else reply(failure.status, b"failed on purpose\n", plan.lines)
        if plan.required and not plan.accepts(head):
            tally.failed[plan.key] += 1
            return reply(_BAD_REQUEST, b"a required header is missing\n", plan.lines)
        inbound = _NOTHING_TO_PASS_ON
        if plan.calls or plan.counts_deliveries:
            delivery = head.header(b"x-delivery-id") or head.request_id or b""
            inbound = Inbound(_lines_to_pass_on(head), delivery)
        try:
            for step in plan.steps:
                await step.run(inbound)
        except StepFailed as error:
            tally.failed[plan.key] += 1
            return reply(503, f"{error}\n".encode())
        tally.executions[plan.key] += 1
        if plan.counted:
            tally.events[plan.counted] += 1
        if plan.counts_deliveries and inbound.delivery:
            tally.deliveries[(*plan.key, inbound.delivery)] += 1
        return plan.answer

    # Compiling the endpoints.

    def _endpoint_plan(self, endpoint: Endpoint) -> _EndpointPlan:
        stream = self.env.randomness.stream
        work = stream("service", "work", endpoint.operation)
        counter = [0]
        steps = tuple(self._step_plan(step, work, counter) for step in endpoint.steps)
        failing = stream("service", "failures", endpoint.operation)
        arrivals = self._arrivals(endpoint.operation)
        return _EndpointPlan(endpoint, self.settings.service.name, steps, failing, arrivals)

    def _arrivals(self, operation: str) -> MutableSequence[float]:
        return self.tally.requests_at(self._arrival(operation))

    def _arrival(self, operation: str) -> Arrival:
        settings = self.settings
        return Arrival(settings.service.name, settings.instance, settings.zone, operation)

    def _step_plan(self, step: Step, work: Random, counter: list[int]) -> StepPlan:
        reactor = self.env.reactor
        match step:
            case Work(time=time):
                return WorkPlan(reactor, time, work, lambda: self.slow_factor)
            case Parallel(steps=steps):
                return ParallelPlan(reactor, tuple(self._step_plan(branch, work, counter) for branch in steps))
            case Call():
                counter[0] += 1
                return CallPlan(
                    reactor, str(step.operation), step.timeout_s, step.optional, self._sender(step, counter[0])
                )

    def _sender(self, call: Call, number: int) -> Send:
        operation = call.operation
        called = self.settings.called.get((operation.service, operation.verb, operation.path))
        if called is None:
            return self._database(operation.service).sender(operation.verb, operation.target)
        client = self._http.get(operation.service)
        if client is None:
            address = self.settings.address_by_service[operation.service]
            client = self._http[operation.service] = HttpClient(self.env.reactor, address)
        before, after = request_message(operation, called.request_bytes, call.headers)
        drawn = DrawnHeaders(call.headers)
        random = self.env.randomness.stream("service", "headers", str(operation), number)
        suffix = b"" if called.idempotent else b".%d\r\n" % number

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
            address = self.settings.address_by_service[service]
            kind = self.settings.database_kind_by_service[service]
            client = self._databases[service] = DatabaseClient(self.env.reactor, address, kind)
        return client


def _lines_to_pass_on(head: RequestHead) -> bytes:
    lines = b""
    if head.request_id:
        lines = b"x-request-id: %b\r\n" % head.request_id
    if head.traceparent:
        lines = b"%btraceparent: %b\r\n" % (lines, head.traceparent)
        state = head.tracestate
        if state:
            lines = b"%btracestate: %b\r\n" % (lines, state)
    return lines


async def _skip_body(connection: Connection, head: RequestHead, data: bytes) -> bytes:
    """Read the body away; return what came after it."""
    reader = BodyReader(head.body, head.body_length)
    if head.expect_continue:
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    _, done, rest = reader.feed(data)
    while not done:
        data = await connection.receive()
        if not data:
            reader.receive_eof()
            return b""
        _, done, rest = reader.feed(data)
    return rest
