"""The sidecar's own page for operators: is it ready, what does it know, what has it counted. Loopback only, read only.

Paths follow Envoy's admin interface where it has them: /ready, /clusters, /stats, /stats/prometheus, /config_dump.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from mesh.config.snapshot import encode_part, redacted
from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.policy.patterns import compile_pattern
from mesh.protocol.http1 import RequestParser, encode_response
from mesh.proxy.listener_samples import listener_groups
from mesh.runtime.environment import Connection
from mesh.telemetry.stat_scopes import CLUSTER_MANAGER, CONTROL_PLANE, LISTENER_MANAGER, SERVER, cluster_scope
from mesh.telemetry.stats_text import PlainWriter, PrometheusWriter, Selection, StatsGroup, StatsWriter

if TYPE_CHECKING:
    from mesh.proxy.cluster import ClusterState
    from mesh.proxy.sidecar import Sidecar
    from mesh.proxy.upstream_pool import UpstreamEndpoint

REQUEST_TIMEOUT_S = 5.0
GROUPS_AT_ONCE = 200  # of statistics; then requests have their turn
PAUSE_S = 1e-6  # Not 0: what is due at once runs in the turn that is under way.


class Admin:
    """Answers one request a connection."""

    def __init__(self, sidecar: "Sidecar") -> None:
        self._sidecar = sidecar
        self._pages = {
            b"/ready": self._ready,
            b"/clusters": self._clusters,
            b"/config_dump": self._config_dump,
        }

    async def serve(self, connection: Connection) -> None:
        """Answer one request."""
        reactor = self._sidecar.context.reactor
        pump = reactor.current
        assert pump is not None
        pump.set_deadline(reactor.now() + REQUEST_TIMEOUT_S)
        buffer, parser = b"", RequestParser()
        try:
            while (parsed := parser.parse(buffer)) is None:
                data = await connection.receive()
                if not data:
                    return
                buffer += data
            head = parsed[0]
            if head.path in (b"/stats", b"/stats/prometheus"):
                await connection.send(await self._stats(head.path, head.target))
            else:
                await connection.send(self._answer(head.path))
        except RemoteProtocolError as error:
            await connection.send(encode_response(error.status, [], b"", keep_alive=False))
        except (BrokenConnection, DeadlineExceeded):
            return

    def _answer(self, path: bytes) -> bytes:
        page = self._pages.get(path)
        if page is None:
            known = b"\n".join(sorted([*self._pages, b"/stats", b"/stats/prometheus"])) + b"\n"
            return encode_response(404, [(b"content-type", b"text/plain")], known, keep_alive=False)
        status, content_type, body = page()
        return encode_response(status, [(b"content-type", content_type)], body, keep_alive=False)

    def _ready(self) -> tuple[int, bytes, bytes]:
        draining = self._sidecar.drain_state.draining
        ready = bool(self._sidecar.snapshot.parts) and not draining
        text = b"LIVE\n" if ready else b"DRAINING\n" if draining else b"INITIALIZING\n"
        return 200 if ready else 503, b"text/plain", text

    def _clusters(self) -> tuple[int, bytes, bytes]:
        """One object a cluster with its endpoints: what this proxy would do with the next request."""
        clusters = [_cluster_page(name, cluster) for name, cluster in sorted(self._sidecar.clusters.items())]
        return 200, b"application/json", msgspec.json.format(msgspec.json.encode(clusters)) + b"\n"

    async def _stats(self, path: bytes, target: bytes) -> bytes:
        """Write all statistics that are asked for, as Envoy does: `?filter=PATTERN`, `?usedonly`, `?format=prometheus`."""
        query = dict(parse_qsl(target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True))
        try:
            pattern = compile_pattern(query["filter"]) if query.get("filter") else None
        except ValueError as error:
            text = f"filter: {error}\n".encode()
            return encode_response(400, [(b"content-type", b"text/plain")], text, keep_alive=False)
        selection = Selection(pattern=pattern, used_only="usedonly" in query)
        is_prometheus = path.endswith(b"/prometheus") or query.get("format") == "prometheus"
        writer: StatsWriter = PrometheusWriter(selection) if is_prometheus else PlainWriter(selection)
        for number, group in enumerate(list(self._groups())):
            if number % GROUPS_AT_ONCE == GROUPS_AT_ONCE - 1:
                await self._sidecar.context.reactor.sleep(PAUSE_S)
            writer.add(group)
        body = writer.text().encode()
        return encode_response(200, [(b"content-type", writer.content_type)], body, keep_alive=False)

    def _groups(self) -> Iterator[StatsGroup]:
        sidecar = self._sidecar
        yield StatsGroup(SERVER, [("live", {}, int(not sidecar.drain_state.draining))])
        yield StatsGroup(CONTROL_PLANE, [("connected_state", {}, int(sidecar.client.status().connected))])
        yield StatsGroup(CLUSTER_MANAGER, [("active_clusters", {}, len(sidecar.clusters))])
        yield StatsGroup(LISTENER_MANAGER, [("total_listeners_active", {}, len(sidecar.listeners))])
        for name, cluster in sorted(sidecar.clusters.items()):
            yield StatsGroup(cluster_scope(name), cluster.samples(), cluster.stats.histograms())
        for _, listener in sorted(sidecar.listeners.items(), key=lambda item: str(item[0])):
            yield from listener_groups(listener)

    def _config_dump(self) -> tuple[int, bytes, bytes]:
        """The applied snapshot. Our own key is not in it, and what came from secrets is hidden."""
        snapshot = self._sidecar.snapshot
        parts = {key: msgspec.Raw(encode_part(redacted(snapshot.parts[key]))) for key in sorted(snapshot.parts)}
        body = msgspec.json.encode({"version": snapshot.version(), "parts": parts})
        return 200, b"application/json", msgspec.json.format(body) + b"\n"


def _cluster_page(name: str, cluster: "ClusterState") -> dict[str, object]:
    endpoints = [_endpoint_page(endpoint) for endpoint in cluster.endpoints.values()]
    return {"name": name, "panic": cluster.panicking, "endpoints": endpoints}


def _endpoint_page(endpoint: "UpstreamEndpoint") -> dict[str, object]:
    flags = list(health_flags(endpoint))
    return {
        "name": endpoint.name,
        "address": endpoint.label,
        "healthy": not flags,
        "health_flags": flags,
        "priority": endpoint.priority,
        "weight": endpoint.weight,
        "locality": endpoint.locality,
        "active": endpoint.active,
        "connections": endpoint.connections,
    }


def health_flags(endpoint: "UpstreamEndpoint") -> Iterator[str]:
    """Yield why an endpoint is not used, in Envoy's words where it has one; none: it is used."""
    if endpoint.check_failed:
        yield "failed_active_hc"
    if endpoint.health is not None and endpoint.health.ejected:
        yield "failed_outlier_check"
    if not endpoint.healthy:
        yield "failed_eds_health"
    if endpoint.excluded:
        yield "excluded_via_immediate_hc_fail"
    if endpoint.resolution is not None:
        yield "failed_dns" if endpoint.resolution.failed else "pending_dns"
