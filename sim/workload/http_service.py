"""One instance of an HTTP service: takes requests into its places, runs the steps of the endpoint, answers.

Owns: its places, its pools of connections to the services it calls, its streams of chance.
Accepts: HTTP/1.1 requests on its address; what its `condition` says.
Emits: counts into the ServiceTally it was given. Knows nothing of the mesh but the addresses it calls.

Passes on `traceparent`, `tracestate` and `x-request-id`, as every application in a mesh has to.
"""

import trio

from mesh.protocol.http1 import BodyKind, BodyReader, RequestHead, RequestParser
from mesh.runtime.environment import Connection, Environment
from mesh.runtime.pump import Signal
from sim.scenario.topology import Failure
from sim.workload.condition import Condition, caller_of, draw_failure, wait_while_stuck
from sim.workload.doors import Doors
from sim.workload.endpoint_plans import EndpointPlan, StepCompiler
from sim.workload.messages import reply
from sim.workload.observations import Arrival, ServiceTally
from sim.workload.places import Places
from sim.workload.settings import ServiceSettings
from sim.workload.steps import Inbound, StepFailed

_RESET = 0  # The status of a failure that is no answer.
_BAD_REQUEST = 400
_NOT_FOUND = reply(404, b"no such endpoint\n")
_NOTHING_TO_PASS_ON = Inbound(b"", b"")
_FULL = reply(503, b"queue is full\n")
_ON_PURPOSE = b"failed on purpose\n"


class HttpService:
    """See the module's text. `run` serves until cancelled."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition) -> None:
        self.env = env
        self.settings = settings
        self.tally = tally
        self.condition = condition
        self._failing = env.randomness.stream("service", "failures")
        self._freed = Signal(env.reactor)
        self._grey = env.randomness.stream("service", "grey")
        service = settings.service
        self.places = Places(env.reactor, concurrency=service.concurrency, queue=service.queue)
        self._doors = Doors(env.reactor, self._serve)
        self._compiler = StepCompiler(env, settings, tally, condition, self.places)
        # A path is compared whole, without its query.
        self._plans = {
            (endpoint.verb.encode(), endpoint.path.encode()): self._compiler.compile(
                endpoint, tally.requests_at(self._arrival(endpoint.operation))
            )
            for endpoint in service.endpoints
        }
        self._strays = tally.requests_at(self._arrival(""))
        self._connections = tally.connections_at(self._arrival(""))

    async def run(self) -> None:
        """Serve until cancelled."""
        self.condition.attach(self._freed.wake_all)
        self._doors.open(self.settings.listen)
        try:
            await trio.sleep_forever()
        finally:
            self._doors.close()
            self._compiler.close()

    def crash(self) -> None:
        """End at once; whoever runs this cancels `run`."""
        self._doors.slam()

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
        if self.condition.ailing:
            failure = draw_failure(self.condition.failures_at_once, self._failing)
            if failure is not None:
                self.condition.touched += 1
                return await self._fail(connection, failure, plan)
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

    async def _fail(self, connection: Connection, failure: Failure, plan: EndpointPlan) -> bool:
        """Fail one request on purpose; False when that is the end of the connection."""
        self.tally.failed[plan.key] += 1
        if failure.status == _RESET:
            connection.abort()
            return False
        await connection.send(reply(failure.status, _ON_PURPOSE, plan.lines))
        return True

    async def _execute(self, plan: EndpointPlan, head: RequestHead) -> bytes | None:
        """Do what the endpoint does; None for a reset."""
        tally, condition, factor = self.tally, self.condition, 1.0
        if condition.ailing:
            if condition.stuck:
                await wait_while_stuck(condition, self._freed)
            if condition.greys:
                factor = condition.factor_for(caller_of(head), self._grey)
        if plan.failures or condition.failures:
            failure = draw_failure(condition.failures, self._failing) or draw_failure(plan.failures, plan.random)
            if failure is not None:
                tally.failed[plan.key] += 1
                return None if failure.status == _RESET else reply(failure.status, _ON_PURPOSE, plan.lines)
        if plan.required and not plan.accepts(head):
            tally.failed[plan.key] += 1
            return reply(_BAD_REQUEST, b"a required header is missing\n", plan.lines)
        inbound = _NOTHING_TO_PASS_ON
        if plan.calls or plan.counts_deliveries:
            delivery = head.header(b"x-delivery-id") or head.request_id or b""
            inbound = Inbound(_lines_to_pass_on(head), delivery, factor)
        elif factor != 1.0:
            inbound = Inbound(b"", b"", factor)
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
            tally.deliver(*plan.key, inbound.delivery, self.env.reactor.now())
        return plan.answer

    def _arrival(self, operation: str) -> Arrival:
        settings = self.settings
        return Arrival(settings.service.name, settings.instance, settings.zone, operation)


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
