"""A cluster whose endpoints are checked, over real loopback, without a sidecar around it; and servers that answer as told."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.events
import structlog
import trio

from mesh.config.snapshot import Cluster, Endpoint
from mesh.model.names import Address
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.proxy.cluster import ClusterState
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import PLAINTEXT, UpstreamEndpoint, UpstreamSecurity
from mesh.runtime.reactor import EpollReactor

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SICK = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
NO_PANIC = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=0.0)
QUICK = HealthCheck(
    kind=HealthCheckKind.HTTP,
    interval_s=0.02,
    no_traffic_interval_s=0.02,
    timeout_s=0.3,
    healthy_threshold=2,
    unhealthy_threshold=2,
)
Serve = Callable[["Server", trio.SocketStream], Awaitable[None]]


@attrs.define(eq=False)
class Server:
    """An endpoint whose answers the test sets; `answer` empty: it says nothing."""

    serve_one: Serve
    answer: bytes = OK
    port: int = 0
    received: list[bytes] = attrs.Factory(list)
    connections: int = 0
    open: int = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._serve, listeners, task_status=task_status)  # type: ignore[arg-type]

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self.serve_one(self, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1


async def http1(server: Server, stream: trio.SocketStream) -> None:
    """Answer each piece that arrives; the requests of checks come in one."""
    async for data in stream:
        server.received.append(bytes(data))
        if server.answer:
            await stream.send_all(server.answer)


async def http2(server: Server, stream: trio.SocketStream) -> None:
    """Answer each HTTP/2 request: `answer` is a gRPC message, or where it is a number the status."""
    protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    protocol.initiate_connection()
    await stream.send_all(protocol.data_to_send())
    async for data in stream:
        for event in protocol.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                server.received.append(repr(dict(event.headers or ())).encode())
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
                if server.answer.isdigit():
                    protocol.send_headers(event.stream_id, [(":status", server.answer.decode())], end_stream=True)
                    continue
                protocol.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                protocol.send_data(event.stream_id, server.answer)
                protocol.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        await stream.send_all(protocol.data_to_send())


@attrs.define(eq=False)
class Checked:
    """A cluster under checks."""

    cluster: ClusterState
    reactor: EpollReactor
    servers: list[Server]
    config: Cluster

    @property
    def endpoint(self) -> UpstreamEndpoint:
        return self.cluster.endpoints["e-0"]

    def update(self, security: UpstreamSecurity = PLAINTEXT, healthy: bool = True, **fields: Any) -> None:
        self.config = attrs.evolve(self.config, **fields)
        located = [
            LocatedEndpoint(
                name=f"e-{index}",
                endpoint=Endpoint(name=f"e-{index}", address=Address("127.0.0.1", server.port), healthy=healthy),
                address=Address("127.0.0.1", server.port),
            )
            for index, server in enumerate(self.servers)
        ]
        self.cluster.update(self.config, tuple(located), security)

    def stats(self) -> dict[str, float]:
        return {
            name.removeprefix("health_check."): value
            for name, _, value in self.cluster.samples()
            if name.startswith("health_check.")
        }

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await trio.sleep(0.005)


def run(
    body: Callable[[Checked], Awaitable[None]],
    *checks: HealthCheck,
    serve_one: Serve = http1,
    answer: bytes = OK,
    servers: int = 1,
    security: UpstreamSecurity = PLAINTEXT,
    **config: Any,
) -> None:
    """Run `body` beside a cluster whose endpoints are checked."""

    async def main() -> None:
        reactor = EpollReactor(log=structlog.get_logger())
        all_servers = [Server(serve_one, answer) for _ in range(servers)]
        cluster_config = Cluster(
            **{"name": "payments", "load_balancing": NO_PANIC, "health_checks": checks} | config  # type: ignore[arg-type]
        )
        cluster = ClusterState(
            cluster_config,
            reactor=reactor,
            random=random.Random(1),
            check_random=lambda: random.Random(2),
            log=structlog.get_logger(),
        )
        checked = Checked(cluster, reactor, all_servers, cluster_config)
        async with trio.open_nursery() as nursery:
            for server in all_servers:
                await nursery.start(server.serve)
            nursery.start_soon(reactor.run)
            checked.update(security)
            with trio.fail_after(10):
                await body(checked)
            cluster.close()
            await checked.until(lambda: not any(server.open for server in all_servers))
            nursery.cancel_scope.cancel()

    trio.run(main)
