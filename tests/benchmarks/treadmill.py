"""A treadmill: a sidecar whose connections answer at once from memory, so that only its own code runs.

The client's connection holds as many requests as are to be measured, the upstream's returns one canned response each. No
system call, no wait: what is measured is what the proxy does with a request, policy by policy.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from mesh.config.snapshot import Part, Snapshot
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address, SpiffeId
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.runtime.environment import Connection, Environment
from mesh.runtime.pump import Pump
from mesh.runtime.real.randomness import SystemRandomness
from mesh.telemetry.access_log import encode_line
from mesh.telemetry.request_record import RequestRecord

BODY = b'{"id": 12345, "name": "a thing", "stock": 7}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\nvary: accept\r\n"
    b"x-service: items\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
BETWEEN_REQUESTS_S = 0.0005


class Treadmill:
    """A reactor whose clock goes on by half a millisecond a request, and whose connections never park."""

    def __init__(self) -> None:
        self.current: Pump | None = None
        self.time_s = 1000.0
        self.serve_by_port: dict[int, Callable[[Connection], Coroutine[Any, Any, None]]] = {}
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0

    def now(self) -> float:
        return self.time_s

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, callback))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def start(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Pump:
        pump = Pump(self, coroutine, name)
        pump.resume()
        return pump

    def listen(self, address: Address, serve: Callable[[Connection], Coroutine[Any, Any, None]]) -> "Ear":
        self.serve_by_port[address.port] = serve
        return Ear(address)

    async def connect(self, address: Address) -> "Belt":
        return Belt(address, [RESPONSE], forever=True)

    async def sleep(self, seconds: float) -> None:
        self.time_s += seconds

    async def call_trio(self, function: Any, *arguments: object) -> Any:
        raise NotImplementedError("nothing on a treadmill needs Trio")

    async def run(self) -> None:
        raise NotImplementedError("a treadmill is stepped by its benchmark")

    def settle(self) -> None:
        """Run what is due."""
        while self._soon or (self._timers and self._timers[0][0] <= self.time_s):
            if self._soon:
                self._soon.popleft()()
            else:
                heapq.heappop(self._timers)[2]()


class Ear:
    """A listening socket that nobody connects to."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def close(self) -> None: ...


class Belt:
    """One connection: hands out its messages one after the other, and takes whatever is sent."""

    secure = False
    peer: SpiffeId | None = None
    sni = ""

    def __init__(
        self, remote: Address, messages: Sequence[bytes], *, forever: bool = False, reactor: Treadmill | None = None
    ) -> None:
        self.local = Address("127.0.0.1", 1)
        self.remote = remote
        self._messages = messages
        self._next = 0
        self._forever = forever
        self._reactor = reactor
        self.sent_bytes = 0
        self.statuses: dict[bytes, int] = {}

    async def receive(self) -> bytes:
        if self._forever:
            return self._messages[0]
        if self._next == len(self._messages):
            return b""
        message = self._messages[self._next]
        self._next += 1
        if self._reactor is not None:
            self._reactor.time_s += BETWEEN_REQUESTS_S
        return message

    async def send(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        if self._reactor is not None:
            status = data[9:12]
            self.statuses[status] = self.statuses.get(status, 0) + 1

    async def send_eof(self) -> None: ...
    def receive_now(self) -> bytes | None:
        return None

    def unread(self, data: bytes) -> None: ...
    def watch(self, callback: Callable[[], None] | None) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Records:
    """Access-log lines are encoded here at once, as the log does in batches."""

    def __init__(self, *, encode: bool) -> None:
        self._encode = encode
        self.bytes = 0

    def append(self, record: RequestRecord) -> None:
        if self._encode:
            self.bytes += len(encode_line(record, clock_offset_s=0.0))


def requests(count: int) -> list[bytes]:
    """Return requests with nine headers, of which path and ids vary, as a browser's or an SDK's would."""
    return [
        b"GET /api/v1/svc%d/items/%d?page=%d HTTP/1.1\r\nhost: svc.mesh.local\r\nuser-agent: treadmill/1\r\n"
        b"accept: application/json\r\naccept-encoding: gzip, deflate\r\naccept-language: en-US,en;q=0.9\r\n"
        b"cookie: session=%016x; theme=dark\r\nx-user: user-%d\r\n"
        b"x-request-id: %08x-0000-4000-a000-000000000000\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n"
        % (index % 14, index, index % 7, index % 500, index % 500, index, index + 1, index + 1)
        for index in range(count)
    ]


class Runner:
    """One sidecar on a treadmill."""

    def __init__(
        self, parts: Sequence[Part], *, port: int, peer: SpiffeId | None = None, log_lines: bool = False
    ) -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])
        self._reactor = Treadmill()
        self._peer = peer
        env = Environment(
            host="treadmill",
            network=None,  # type: ignore[arg-type]  # nobody reaches for it
            reactor=self._reactor,
            tls=OpenSslTls(wall_clock=time.time),
            randomness=SystemRandomness(7),
            disk=None,  # type: ignore[arg-type]
            wall_clock=time.time,
            log=structlog.get_logger(),
        )
        nowhere = ControlPlaneClientSettings(
            address=Address("127.0.0.1", 1), tls=None, token="", dataplane={}, state_folder="state"
        )
        self.sidecar = Sidecar(env, SidecarSettings(control_plane=nowhere, records=Records(encode=log_lines)))
        self.sidecar.apply(Snapshot.of(*parts))
        self._serve = self._reactor.serve_by_port[port]

    def run(self, messages: Sequence[bytes]) -> float:
        """Return the CPU seconds that these requests take. All of them have to succeed."""
        client = Belt(Address("127.0.0.1", 2), messages, reactor=self._reactor)
        client.peer = self._peer
        began = time.process_time()
        pump = self._reactor.start(self._serve(client), name="connection")
        took = time.process_time() - began
        self._reactor.settle()
        assert pump.done, "the proxy parked: a treadmill never does"
        assert client.statuses == {b"200": len(messages)}, f"not all requests succeeded: {client.statuses}"
        return took
