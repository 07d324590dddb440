"""The sidecar's own page for operators: is it ready, what does it know, what has it counted. Loopback only, read only.

Paths follow Envoy's admin interface where it has them: /ready, /clusters, /stats/prometheus, /config_dump.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from mesh.config.snapshot import encode_part, redacted
from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.protocol.http1 import RequestParser, encode_response
from mesh.runtime.environment import Connection
from mesh.telemetry.metrics import exposition

if TYPE_CHECKING:
    from mesh.proxy.sidecar import Sidecar

REQUEST_TIMEOUT_S = 5.0
Sample = tuple[str, dict[str, str], float]


class Admin:
    """Answers one request a connection."""

    def __init__(self, sidecar: "Sidecar") -> None:
        self._sidecar = sidecar
        self._pages = {
            b"/ready": self._ready,
            b"/clusters": self._clusters,
            b"/stats/prometheus": self._stats,
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
            await connection.send(self._answer(parsed[0].path))
        except RemoteProtocolError as error:
            await connection.send(encode_response(error.status, [], b"", keep_alive=False))
        except (BrokenConnection, DeadlineExceeded):
            return

    def _answer(self, path: bytes) -> bytes:
        page = self._pages.get(path)
        if page is None:
            known = b"\n".join(sorted(self._pages)) + b"\n"
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
        clusters = [
            {
                "name": name,
                "panic": cluster.panicking,
                "endpoints": [
                    {
                        "name": endpoint.name,
                        "address": endpoint.label,
                        "healthy": endpoint.healthy,
                        "ejected": endpoint.health is not None and endpoint.health.ejected,
                        "active": endpoint.active,
                        "connections": endpoint.connections,
                    }
                    for endpoint in cluster.endpoints.values()
                ],
            }
            for name, cluster in sorted(self._sidecar.clusters.items())
        ]
        return 200, b"application/json", msgspec.json.format(msgspec.json.encode(clusters)) + b"\n"

    def _stats(self) -> tuple[int, bytes, bytes]:
        return 200, b"text/plain; version=0.0.4", exposition(self._samples()).encode()

    def _samples(self) -> Iterator[Sample]:
        yield "envoy_server_live", {}, float(not self._sidecar.drain_state.draining)
        for name, cluster in sorted(self._sidecar.clusters.items()):
            label = {"envoy_cluster_name": name}
            for metric, labels, value in cluster.samples():
                yield f"envoy_cluster_{metric}", label | labels, value

    def _config_dump(self) -> tuple[int, bytes, bytes]:
        """The applied snapshot. Our own key is not in it, and what came from secrets is hidden."""
        snapshot = self._sidecar.snapshot
        parts = {key: msgspec.Raw(encode_part(redacted(snapshot.parts[key]))) for key in sorted(snapshot.parts)}
        body = msgspec.json.encode({"version": snapshot.version(), "parts": parts})
        return 200, b"application/json", msgspec.json.format(body) + b"\n"
