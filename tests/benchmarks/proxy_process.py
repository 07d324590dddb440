"""One sidecar with a fixed configuration, as a process to measure: the product's data plane without a control plane.

`python -m tests.benchmarks.proxy_process one|inbound|outbound FOLDER`. The features are those of the Envoy
configurations beside this file: 20 routes, retries, per-try and request timeouts, least request, circuit breaker,
outlier detection, access log to a file, metrics.
"""

import sys
from pathlib import Path

import trio

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    OutboundListener,
    Part,
    Route,
    Snapshot,
    TrustPart,
    UpstreamTls,
)
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.authority import make_svid
from mesh.identity.certificate import decode_key
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import MatchKind, PeerMatch, Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import PathMatch, RouteMatch
from mesh.policy.timeout import Timeouts
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.runtime.logging import open_log
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment, wall_clock
from mesh.telemetry.access_log import AccessLog

RETRY = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR, RetryOn.CONNECT_FAILURE), per_try_timeout_s=5.0)
PREFIXES = [f"/api/v1/svc{index}/" for index in range(14)]
PREFIXES += [f"/re{index}/" for index in range(3)] + ["/canary", "/api/v1/items", "/"]


def cluster_parts(endpoints: list[Address], tls: UpstreamTls | None) -> list[Part]:
    return [
        Cluster(
            name="c",
            protocol=Protocol.HTTP,
            tls=tls,
            circuit_breaking=CircuitBreakingLimits(),
            outlier_detection=OutlierDetection(consecutive_5xx=5),
        ),
        ClusterEndpoints(
            cluster="c",
            endpoints=tuple(Endpoint(name=f"c-{index}", address=a) for index, a in enumerate(endpoints)),
        ),
    ]


def outbound(port: int) -> OutboundListener:
    backends = (Backend(cluster="c"),)
    routes = tuple(
        Route(name=f"r{i}", match=RouteMatch(path=PathMatch(value=prefix)), backends=backends, retry=RETRY)
        for i, prefix in enumerate(PREFIXES)
    )
    return OutboundListener(name="out", address=Address("127.0.0.1", port), protocol=Protocol.HTTP, routes=routes)


def parts_of(kind: str) -> list[Part]:
    """Return the configuration of one of the three proxies."""
    if kind == "one":
        return [outbound(9250), *cluster_parts([Address(f"127.0.0.{n}", 9100) for n in range(1, 11)], None)]
    if kind == "outbound":
        expected = UpstreamTls(expected_peers=("spiffe://mesh/in",))
        return [outbound(9320), *cluster_parts([Address("127.0.0.1", 9321)], expected)]
    return [
        InboundListener(
            name="in",
            address=Address("127.0.0.1", 9321),
            application=Address("127.0.0.1", 9100),
            protocol=Protocol.HTTP,
            tls_mode=TlsMode.STRICT,
            permissions=Permissions(allow=(PeerMatch(spiffe_id_kind=MatchKind.EXACT, spiffe_id="spiffe://mesh/out"),)),
            timeouts=Timeouts(),
        )
    ]


async def serve(kind: str, folder: Path) -> None:
    """Run until the process is ended."""
    log = open_log(wall_clock=wall_clock)
    reactor = EpollReactor(log=log)
    env = real_environment(
        kind, data_dir=str(folder / kind), reactor=reactor, tls=OpenSslTls(wall_clock=wall_clock), log=log
    )
    output = open(folder / "logs" / f"access-{kind}.log", "ab", buffering=0)  # noqa: SIM115, ASYNC230  # as long as we live

    async def write(lines: bytes) -> None:
        output.write(lines)

    access_log = AccessLog(write, wall_clock=wall_clock)
    unreachable = ControlPlaneClientSettings(
        address=Address("127.0.0.1", 1), tls=None, token="", dataplane={}, state_folder="state"
    )
    sidecar = Sidecar(env, SidecarSettings(control_plane=unreachable, records=access_log))
    parts = parts_of(kind)
    if kind != "one":
        own = "in" if kind == "inbound" else "out"
        certs = folder / "certs"
        key = decode_key((certs / f"{own}.key").read_text())
        sidecar.use_identity(make_svid((certs / f"{own}.crt").read_text(), key))
        parts.append(TrustPart(trust_domain="mesh", roots_pem=((certs / "ca.crt").read_text(),)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        nursery.start_soon(access_log.run)
        sidecar.apply(Snapshot.of(*parts))
        sidecar.start_ticking()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], Path(sys.argv[2]))
