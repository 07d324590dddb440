"""One downstream connection of opaque TCP: whom it may reach, the way there, one record at its end.

Source: Envoy source/common/tcp_proxy/tcp_proxy.cc (max_connect_attempts, weighted clusters: one draw a connection).
"""

from typing import TYPE_CHECKING

from mesh.model.errors import ConnectFailed
from mesh.model.traffic import ResponseFlag
from mesh.policy.authorization import Verdict
from mesh.protocol.http1 import RequestHead
from mesh.protocol.http1.layout import EMPTY
from mesh.proxy.cluster import ClusterState
from mesh.proxy.http_connection import ProxyContext
from mesh.proxy.plan import TcpPlan
from mesh.proxy.tcp_relay import relay
from mesh.proxy.upstream_pool import PoolOverflow, UpstreamEndpoint, connect_failure_kind
from mesh.runtime.environment import Connection
from mesh.telemetry.request_record import RequestRecord

if TYPE_CHECKING:
    from mesh.proxy.listener import ProxyListener

_NO_HEAD = RequestHead(b"", b"", b"", b"", EMPTY, [])  # for a hasher that looks at none


class TcpConnection:
    """Serves one connection, under the plan that was current when it began; permissions are asked again as they change."""

    def __init__(self, connection: Connection, plan: TcpPlan, listener: "ProxyListener", context: ProxyContext) -> None:
        self._connection = connection
        self._plan = plan
        self._listener = listener
        self._context = context
        self._record = RequestRecord(inbound=plan.inbound, started_at=context.reactor.now())
        self._record.peer = "" if connection.peer is None else str(connection.peer)

    async def serve(self) -> None:
        """Relay until either side ends."""
        record, reactor = self._record, self._context.reactor
        self._context.drain.enter()
        try:
            if not self._is_allowed() or not await self._relay():
                self._connection.abort()
        finally:
            self._context.drain.leave()
            record.ended_at = reactor.now()
            self._context.records.append(record)

    def _is_allowed(self) -> bool:
        authorizer, connection, record = self._listener.plan.authorizer, self._connection, self._record
        if authorizer is None:
            return True
        decision = authorizer.decide(connection.peer, connection.sni)
        authorizer.counts.add(decision.verdict)
        if decision.verdict is Verdict.DENIED:
            record.detail = decision.denied_detail
            record.flags = (ResponseFlag.UNAUTHORIZED,)
            return False
        if decision.verdict is Verdict.ALLOWED_SHADOW_DENIED:
            record.shadow_denied = decision.denied_detail
        return True

    async def _relay(self) -> bool:
        """Return whether there was somebody to relay to."""
        plan, record, reactor = self._plan, self._record, self._context.reactor
        cluster = plan.backends.only or plan.backends.draw(self._context.random)
        if cluster is None:
            self._listener.stats.no_route += 1
            record.flags, record.detail = (ResponseFlag.NO_CLUSTER,), "cluster_not_found"
            return False
        record.cluster = cluster.config.name
        reached = await self._connect(cluster)
        if reached is None:
            return False
        endpoint, upstream = reached
        try:
            relayed = await relay(self._connection, upstream, reactor=reactor, idle_s=plan.idle_s)
            record.bytes_received, record.bytes_sent = relayed.bytes_up, relayed.bytes_down
            stats = self._listener.stats
            stats.bytes_received += relayed.bytes_up
            stats.bytes_sent += relayed.bytes_down
            if relayed.upstream_broke:
                record.flags = (ResponseFlag.UPSTREAM_REMOTE_RESET,)
        finally:
            upstream.close()
            cluster.pool.forget(endpoint)
            endpoint.active -= 1
        return True

    async def _connect(self, cluster: ClusterState) -> tuple[UpstreamEndpoint, Connection] | None:
        """Connect to an endpoint, to another one after a failure; None when none could be reached."""
        record, connects_max, hasher = self._record, self._plan.connects_max, self._plan.hasher
        request_hash = None
        if hasher is not None:
            request_hash, _ = hasher.hash(_NO_HEAD, self._connection.remote.host, self._context.random)
        while record.tries < connects_max:
            endpoint = cluster.pick(request_hash)
            if endpoint is None:
                cluster.stats.none_healthy += 1
                record.flags, record.detail = (ResponseFlag.NO_HEALTHY_UPSTREAM,), "no_healthy_upstream"
                return None
            record.tries += 1
            record.upstream = endpoint.label
            try:
                opened = await cluster.pool.open_exclusive(endpoint)
            except PoolOverflow:
                record.upstream, record.flags, record.detail = "", (), "overflow"
                continue
            except ConnectFailed as error:
                cluster.on_local_failure(endpoint, connect_failure_kind(error), error.reason)
                record.flags, record.detail = (ResponseFlag.UPSTREAM_CONNECTION_FAILURE,), error.reason
                continue
            cluster.stats.requests_total += 1
            cluster.on_connected(endpoint)
            record.flags, record.detail = (), ""
            endpoint.active += 1
            return endpoint, opened
        cluster.stats.connect_attempts_exceeded += 1
        record.flags += (ResponseFlag.RETRY_LIMIT_EXCEEDED,)  # As in Envoy, if only one attempt was allowed too.
        return None
