"""Services that are an operator's own ASGI application, unchanged: `asgi: module:app` in a scenario.

Owns: the places of one instance, the application's lifespan. Accepts: HTTP/1.1 requests on its address; what its `condition`
says. The application awaits Trio (or anyio on Trio), so that its sleeps pass in virtual time. WebSockets are not served.
Source: ASGI specification 3.0, HTTP & WebSocket 2.3, Lifespan 2.0.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, cast
from urllib.parse import unquote_to_bytes

import trio

from mesh.model.errors import LocalProtocolError
from mesh.runtime.environment import Environment
from sim.scenario.schema import IDEMPOTENT_METHODS
from sim.workload.actor import ServiceMeter
from sim.workload.asgi_lifespan import Lifespan
from sim.workload.condition import Condition, caller_of, draw_failure
from sim.workload.http_server import Exchange, Reply, serve_http
from sim.workload.observations import ServiceTally
from sim.workload.settings import ServiceSettings
from sim.workload.task_places import TaskPlaces

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

VERSIONS = {"version": "3.0", "spec_version": "2.3"}
_FULL = Reply(status=503, body=b"queue is full\n")


class AsgiService:
    """See the module's text. `run` serves until cancelled."""

    def __init__(self, env: Environment, settings: ServiceSettings, tally: ServiceTally, condition: Condition) -> None:
        service = settings.service
        assert service.code is not None, "a service without code is modelled"
        self.env = env
        self.settings = settings
        self.tally = tally
        self.condition = condition
        self.places = TaskPlaces(concurrency=service.concurrency, queue=service.queue)
        self._code = service.code
        self._meter = ServiceMeter(settings, tally, env.reactor.now)
        self._failing = env.randomness.stream("service", "failures")
        self._grey = env.randomness.stream("service", "grey")
        self._freed = trio.Event()
        self._lifespan: Lifespan | None = None
        self._app: App

    async def run(self) -> None:
        """Serve until cancelled; then the application may shut down. Raises: CodeError, LifespanFailed."""
        self._app = cast(App, self._code.load())
        self.condition.attach(self._free)
        async with trio.open_nursery() as nursery:
            self._lifespan = lifespan = Lifespan(self._app)
            await lifespan.start(nursery)
            try:
                await serve_http(self.env, self.settings.listen, self._handle, self._meter)
            finally:
                await lifespan.stop()

    def crash(self) -> None:
        """End at once: the application does not hear of it."""
        if self._lifespan is not None:
            self._lifespan.abandon()

    def _free(self) -> None:
        self._freed.set()
        self._freed = trio.Event()

    async def _handle(self, exchange: Exchange) -> None:
        condition, head = self.condition, exchange.request.head
        key = (self.settings.service.name, f"{head.method.decode('latin-1')} {head.path.decode('latin-1')}")
        if condition.ailing and await self._fails(exchange, at_once=True, key=key):
            return
        if not await self.places.enter():
            self.tally.refused[key[0]] += 1
            await exchange.reply(_FULL)
            return
        try:
            while condition.stuck:
                condition.touched += 1
                await self._freed.wait()
            if condition.ailing and await self._fails(exchange, at_once=False, key=key):
                return
            factor = condition.factor
            if condition.greys:
                factor *= condition.factor_for(caller_of(head), self._grey)
            await self._call(exchange, key, factor)
        finally:
            self.places.leave()

    async def _fails(self, exchange: Exchange, *, at_once: bool, key: tuple[str, str]) -> bool:
        condition = self.condition
        failures = condition.failures_at_once if at_once else condition.failures
        failure = draw_failure(failures, self._failing)
        if failure is None:
            return False
        condition.touched += at_once
        self.tally.failed[key] += 1
        if failure.status:
            await exchange.reply(Reply(status=failure.status, body=b"failed on purpose\n"))
        else:
            exchange.keep_alive = False
            exchange.begun = True
        return True

    async def _call(self, exchange: Exchange, key: tuple[str, str], factor: float) -> None:
        """Have the application answer. Work that is slow takes its time before the first byte."""
        call = _Call(exchange, factor)
        await self._app(self._scope(exchange), call.receive, call.send)
        if not exchange.ended:
            raise RuntimeError("the application returned without a whole answer")
        if call.status >= 500:
            self.tally.failed[key] += 1
            return
        self.tally.executions[key] += 1
        delivery = exchange.request.head.header(b"x-delivery-id") or exchange.request.head.request_id
        if delivery and exchange.request.head.method.decode("latin-1") not in IDEMPOTENT_METHODS:
            self.tally.deliver(*key, delivery, self.env.reactor.now())

    def _scope(self, exchange: Exchange) -> Message:
        head, listen = exchange.request.head, self.settings.listen
        raw_path, _, query = head.origin_target.partition(b"?")
        assert self._lifespan is not None, "it serves after its start"
        return {
            "type": "http",
            "asgi": VERSIONS,
            "http_version": "1.1" if head.version == 11 else "1.0",
            "method": head.method.decode("latin-1"),
            "scheme": "http",
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in head.headers],
            "client": None,
            "server": (listen.host, listen.port),
            "state": dict(self._lifespan.state),
        }


class _Call:
    """What one call of the application receives and sends."""

    def __init__(self, exchange: Exchange, factor: float) -> None:
        self.status = 0
        self._exchange = exchange
        self._factor = factor
        self._began = trio.current_time()
        self._given = False
        self._start: Message | None = None

    async def receive(self) -> Message:
        await trio.lowlevel.checkpoint()
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._exchange.request.body, "more_body": False}
        if not self._exchange.ended:
            await self._exchange.wait_client_left()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" if self._start is None:
                self._start, self.status = message, message["status"]
                spent_s = trio.current_time() - self._began
                await trio.sleep(max(spent_s * (self._factor - 1.0), 0.0))
            case "http.response.body" if self._start is not None and not self._exchange.ended:
                await self._send_body(self._start, bytes(message.get("body", b"")), message.get("more_body", False))
            case other:
                raise LocalProtocolError(f"the application sent {other} out of turn")

    async def _send_body(self, start: Message, data: bytes, more: bool) -> None:
        exchange = self._exchange
        if not exchange.begun:
            headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
            await exchange.begin(self.status, headers)
        await exchange.write(data)
        if not more:
            await exchange.end()
