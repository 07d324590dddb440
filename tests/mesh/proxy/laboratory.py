"""A sidecar between a scripted client and a scripted upstream, over real loopback; no control plane, a fixed snapshot."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import structlog
import trio

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    OutboundListener,
    Part,
    Route,
    Snapshot,
)
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.proxy.admin import Admin
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.runtime.environment import Environment
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment, wall_clock
from mesh.telemetry.request_record import RequestRecord

Handler = Callable[["UpstreamCall"], Awaitable[None]]


@attrs.define(eq=False)
class UpstreamCall:
    """One request as the upstream sees it, and the stream to answer on."""

    head: bytes
    body: bytes
    stream: trio.abc.HalfCloseableStream
    at: float

    async def answer(self, status: int = 200, body: bytes = b"ok", headers: Sequence[str] = ()) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
        await self.stream.send_all("\r\n".join(lines).encode() + body)


@attrs.define(eq=False)
class Upstream:
    """A server whose answers the test scripts: one handler a request, the last one repeats."""

    handlers: list[Handler]
    tls: ssl.SSLContext | None = None
    address: Address = Address("127.0.0.1", 0)
    calls: list[UpstreamCall] = attrs.field(factory=list)
    connections: int = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.address = Address("127.0.0.1", listener.socket.getsockname()[1])
            task_status.started()
            async with listener:
                while True:
                    stream = await listener.accept()
                    self.connections += 1
                    nursery.start_soon(self._serve_connection, stream)

    async def _serve_connection(self, stream: Any) -> None:
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(stream)
                return
        await self._serve_requests(stream)

    async def _serve_requests(self, stream: Any) -> None:
        buffer = b""
        async with stream:
            while True:
                while b"\r\n\r\n" not in buffer:
                    try:
                        data = await stream.receive_some()
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        return
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                while len(buffer) < length:
                    buffer += await stream.receive_some()
                body, buffer = buffer[:length], buffer[length:]
                call = UpstreamCall(head, body, stream, trio.current_time())
                self.calls.append(call)
                handler = self.handlers[min(len(self.calls), len(self.handlers)) - 1]
                try:
                    await handler(call)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return


@attrs.define(eq=False)
class Response:
    """A response as the client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class Lab:
    """A running sidecar."""

    env: Environment
    sidecar: Sidecar
    records: list[RequestRecord]
    port: int

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def record(self, number: int = 0) -> RequestRecord:
        """Wait for the record of one request; it may come a moment after the response."""
        while len(self.records) <= number:
            await trio.sleep(0.005)
        return self.records[number]

    async def request(self, text: str = "GET / HTTP/1.1\r\nhost: svc\r\n\r\n", body: bytes = b"") -> Response:
        """Send one request on a connection of its own and read the whole response."""
        async with await self.connect() as stream:
            await stream.send_all(text.encode() + body)
            return await read_response(stream)


async def read_response(stream: trio.SocketStream) -> Response:
    """Read one response framed by content-length or by the end of the connection."""
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        data = await stream.receive_some()
        assert data, f"the connection ended early: {buffer!r}"
        buffer += data
    head, _, body = buffer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length")
    while length is None or len(body) < int(length):
        data = await stream.receive_some()
        if not data:
            break
        body += data
    return Response(int(first.split()[1]), headers, body)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def admin_page(lab: Lab, path: str) -> str:
    """Ask the sidecar's own page."""
    address = Address("127.0.0.1", free_port())
    listener = lab.env.reactor.listen(address, Admin(lab.sidecar).serve)
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        text = (await read_response(stream)).body.decode()
    listener.close()
    return text


def http_parts(
    port: int, upstreams: Sequence[Address], *, route: dict[str, Any], cluster: dict[str, Any]
) -> list[Part]:
    """Return the parts of one outbound HTTP listener with one route to one cluster."""
    return [
        Cluster(name="c", protocol=Protocol.HTTP, **cluster),
        ClusterEndpoints(
            cluster="c",
            endpoints=tuple(Endpoint(name=f"c-{i}", address=address) for i, address in enumerate(upstreams)),
        ),
        OutboundListener(
            name="out",
            address=Address("127.0.0.1", port),
            protocol=Protocol.HTTP,
            routes=(Route(name="r", backends=(Backend(cluster="c"),), **route),),
        ),
    ]


async def with_sidecar(
    tmp_path: Any,
    parts: Callable[[int], Sequence[Part]],
    body: Callable[[Lab], Awaitable[None]],
    **other: Any,
) -> None:
    """Run `body` beside a sidecar whose outbound listens on `lab.port`; `other` takes the place of parts of its environment."""
    log = structlog.get_logger()
    reactor = EpollReactor(log=log)
    env = real_environment(
        "lab", data_dir=str(tmp_path), reactor=reactor, tls=OpenSslTls(wall_clock=wall_clock), log=log, seed=7
    )
    env = attrs.evolve(env, **other)
    records: list[RequestRecord] = []
    settings = ControlPlaneClientSettings(
        address=Address("127.0.0.1", 1), tls=None, token="", dataplane={}, state_folder="state"
    )
    sidecar = Sidecar(env, SidecarSettings(control_plane=settings, records=records, drain_s=2.0))
    port = free_port()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        sidecar.apply(Snapshot.of(*parts(port)))
        sidecar.start_ticking()
        with trio.fail_after(20):
            await body(Lab(env, sidecar, records, port))
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Fleet:
    """The scripted upstreams of a laboratory, by the cluster that they are the endpoints of."""

    servers: Mapping[str, Sequence[Upstream]]

    def one(self, cluster: str = "c") -> Upstream:
        """Return the only endpoint of a cluster."""
        (server,) = self.servers[cluster]
        return server

    def calls(self, cluster: str = "c") -> list[int]:
        """Return how many requests each endpoint of a cluster has seen."""
        return [len(server.calls) for server in self.servers[cluster]]


def run_fleet(
    tmp_path: Any,
    body: Callable[[Lab, Fleet], Awaitable[None]],
    upstreams: Mapping[str, Sequence[list[Handler]]],
    *,
    routes: Sequence[Route] = (),
    cluster: Mapping[str, Any] | None = None,
    listeners: Callable[[int, Fleet], Sequence[Part]] | None = None,
) -> None:
    """Run `body` with a sidecar in front of scripted upstreams: lists of handlers, one for each endpoint of each cluster.

    `routes` are those of one HTTP outbound; `listeners` says otherwise. `cluster`: fields of all clusters.
    """

    async def main() -> None:
        fleet = Fleet({name: [Upstream(handlers) for handlers in lists] for name, lists in upstreams.items()})
        async with trio.open_nursery() as nursery:
            for servers in fleet.servers.values():
                for server in servers:
                    await nursery.start(server.serve)
            await with_sidecar(
                tmp_path,
                lambda port: [
                    *fleet_clusters(fleet, cluster or {}),
                    *(listeners(port, fleet) if listeners else [http_outbound(port, routes)]),
                ],
                lambda lab: body(lab, fleet),
            )
            nursery.cancel_scope.cancel()

    trio.run(main)


def fleet_clusters(fleet: Fleet, fields: Mapping[str, Any]) -> list[Part]:
    """Return a cluster for each group of upstreams, and its endpoints."""
    parts: list[Part] = []
    for name, servers in fleet.servers.items():
        endpoints = [Endpoint(name=f"{name}-{i}", address=server.address) for i, server in enumerate(servers)]
        parts.append(Cluster(name=name, protocol=Protocol.HTTP, **fields))
        parts.append(ClusterEndpoints(cluster=name, endpoints=tuple(endpoints)))
    return parts


def http_outbound(port: int, routes: Sequence[Route]) -> OutboundListener:
    """Return an outbound HTTP listener."""
    return OutboundListener(
        name="out", address=Address("127.0.0.1", port), protocol=Protocol.HTTP, routes=tuple(routes)
    )


def flags(record: RequestRecord) -> str:
    """Return a record's flags as the access log writes them."""
    return ",".join(flag.value for flag in record.flags)


async def ok(call: UpstreamCall) -> None:
    """Answer 200."""
    await call.answer()


async def sick(call: UpstreamCall) -> None:
    """Answer 503."""
    await call.answer(503, b"sick")


async def silent(call: UpstreamCall) -> None:
    """Never answer."""
    await trio.sleep_forever()
