"""Ours: run cases on our sidecar, over real sockets, many at once; each has its own sidecar, ports and upstreams."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from mesh.config.snapshot import Snapshot
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.tls import OpenSslTls
from mesh.model.names import Address
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment, wall_clock
from mesh.telemetry.request_record import RequestRecord
from tests.envoy.case import Case, placed
from tests.envoy.client import act
from tests.envoy.outcome import Entry, Outcome
from tests.envoy.ports import free_ports
from tests.envoy.upstream import Servers

AT_ONCE_MAX = 16
CASE_S_MAX = 60.0
_NO_CONTROL_PLANE = ControlPlaneClientSettings(
    address=Address("127.0.0.1", 1), tls=None, token="", dataplane={}, state_folder="state"
)


async def run_ours(cases: Sequence[Case]) -> dict[str, Outcome | Exception]:
    """Run all cases; {name: outcome, or what went wrong}."""
    outcomes: dict[str, Outcome | Exception] = {}
    reactor = EpollReactor(log=structlog.get_logger())
    room = trio.CapacityLimiter(AT_ONCE_MAX)

    async def one(case: Case) -> None:
        async with room:
            try:
                with trio.fail_after(CASE_S_MAX):
                    outcomes[case.name] = await _run(case, reactor)
            except Exception as error:  # One case that goes wrong must not take the others along.
                outcomes[case.name] = error

    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as pumps:
            pumps.start_soon(reactor.run)
            async with trio.open_nursery() as nursery:
                for case in cases:
                    nursery.start_soon(one, case)
            pumps.cancel_scope.cancel()
    return {case.name: _with_errors(case, outcomes[case.name], logged) for case in cases}


def _with_errors(case: Case, outcome: Outcome | Exception, logged: Iterable[Mapping[str, Any]]) -> Outcome | Exception:
    """Add the errors of the case's sidecar, and those that belong to nobody to every case."""
    if isinstance(outcome, Exception):
        return outcome
    errors = [
        f"logged {entry['event']}"
        for entry in logged
        if entry["log_level"] in ("error", "critical") and entry.get("host", case.name) == case.name
    ]
    return attrs.evolve(outcome, complaints=(*outcome.complaints, *errors))


async def _run(case: Case, reactor: EpollReactor) -> Outcome:
    servers = Servers(case.upstreams, case.first_asked_first)
    async with trio.open_nursery() as nursery:
        await servers.start(nursery)
        with tempfile.TemporaryDirectory() as folder:
            outcome = await _with_sidecar(case, servers, reactor, Path(folder))
        nursery.cancel_scope.cancel()
    return outcome


async def _with_sidecar(case: Case, servers: Servers, reactor: EpollReactor, folder: Path) -> Outcome:
    env = real_environment(
        case.name,
        data_dir=str(folder),
        reactor=reactor,
        tls=OpenSslTls(wall_clock=wall_clock),
        log=structlog.get_logger(),
        seed=sum(case.name.encode()),
    )
    records: list[RequestRecord] = []
    sidecar = Sidecar(env, SidecarSettings(control_plane=_NO_CONTROL_PLANE, records=records, drain_s=0.0))
    ports = free_ports(case.listeners)
    sidecar.apply(
        Snapshot.of(*placed(case, {**servers.addresses, **{name: ("127.0.0.1", ports[name]) for name in ports}}))
    )
    sidecar.start_ticking()
    try:
        await trio.sleep(case.warm_s)
        servers.begin()
        replies = await act(case.steps, ports)
        await trio.sleep(case.settles_s)
        names = {port: name for name, port in ports.items()}
        return Outcome(
            replies=replies,
            arrivals=servers.arrivals,
            log=tuple(_entry(record, servers, names) for record in records),
            connections=servers.connections,
            stats=_stats(case, sidecar),
            complaints=tuple(_held(sidecar)),
        )
    finally:
        await sidecar.drain()


def _held(sidecar: Sidecar) -> Iterator[str]:
    """Yield what requests have not given back although all of them have ended."""
    for name, cluster in sidecar.clusters.items():
        breaker = cluster.breaker
        held = {"requests": breaker.requests, "pending": breaker.pending_requests, "retries": breaker.retries}
        held["active"] = sum(endpoint.active for endpoint in cluster.endpoints.values())
        yield from (f"{name} holds {count} {what}" for what, count in held.items() if count)


def _entry(record: RequestRecord, servers: Servers, listeners: dict[int, str]) -> Entry:
    port = int(record.upstream.rpartition(":")[2] or 0)
    return Entry(
        listener="in" if record.inbound else "out",
        status=record.status,
        flags=",".join(sorted(flag.value for flag in record.flags)),
        details=record.detail,
        tries=record.tries,
        upstream=listeners.get(port) or servers.played_by(port),
    )


def _stats(case: Case, sidecar: Sidecar) -> dict[str, int]:
    found: dict[str, int] = {}
    for wanted in case.stats:
        cluster, _, name = wanted.partition(".")
        values = {sample: value for sample, labels, value in sidecar.clusters[cluster].samples() if not labels}
        found[wanted] = int(values.get(name, -1))
    return found
