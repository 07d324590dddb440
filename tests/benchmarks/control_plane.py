"""Benchmark (d): how long a change takes until every proxy has acknowledged it, what it costs, and how that grows.

The control plane is the product's, with its store on the simulated disk. An instant of an ack is the virtual time since the
change (network, coalescing) plus the CPU time that the control plane has used since then, as if it had a core of its own.
CPU seconds are those of the control plane's tasks until the last ack, `net` without what heartbeats alone cost in that
time; bytes are those of pushes as they are sent.
"""

import gc
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from mesh.control.control_plane import ControlPlane
from mesh.control.store.values import Put
from mesh.resources.loading import load_resource
from sim.event_log import Event
from sim.world import World
from tests.benchmarks.cpu_by_host import CpuOfHost
from tests.benchmarks.installation import CONTROL_PLANE, MESH, Installation, service_name
from tests.benchmarks.retained import retained_bytes

QUIET_S = 1.5  # Without an ack for so long, a change is everywhere.
SETTLED_S_MAX = 600.0
IDLE_S = 20.0
SEED = 1
STRETCH_SERVICES = 5_000  # with two instances each


@attrs.define(eq=False, kw_only=True)
class Change:
    """What was measured of one kind of change, over all rounds."""

    title: str
    rounds: int = 0
    proxies: int = 0  # that acknowledged
    acked_s: list[float] = attrs.field(factory=list)
    cpu_s: float = 0.0
    net_cpu_s: float = 0.0
    pushes: int = 0
    push_bytes: int = 0

    def row(self) -> str:
        rounds = max(self.rounds, 1)
        p50, p99, last = (1000 * quantile(self.acked_s, share) for share in (0.5, 0.99, 1.0))
        return (
            f"  {self.title:<28}{self.proxies / rounds:>9.1f}{p50:>9.0f}{p99:>9.0f}{last:>9.0f}"
            f"{1000 * self.cpu_s / rounds:>10.1f}{1000 * self.net_cpu_s / rounds:>10.1f}"
            f"{self.pushes / rounds:>9.1f}{self.push_bytes / rounds / 1024:>10.1f}"
        )


@attrs.define(eq=False, kw_only=True)
class Measured:
    """One size."""

    services: int
    proxies: int
    start_cpu_s: float = 0.0
    idle_cpu_share: float = 0.0
    bytes_a_proxy: float = 0.0
    changes: list[Change] = attrs.field(factory=list)
    event_hash: str = ""


def run(*, sizes: Sequence[int], instances: int, rounds: int) -> list[Measured]:
    """Measure each size and print how it grows from the first to the last."""
    print(f"\n(d) control plane in simulation, {instances} instances a service, each calling 5 to 10 services")
    found = [measure(size, instances=instances, rounds=rounds) for size in sizes]
    if len(found) > 1:
        _print_growth(found[0], found[-1])
    return found


def measure(services: int, *, instances: int, rounds: int) -> Measured:
    """Run one size and print what it took."""
    gc.collect()
    world = World(seed=SEED)
    installation = Installation(world, services, instances)
    result = Measured(services=services, proxies=installation.proxies)
    began = time.perf_counter()
    run_result = world.run(lambda _: _Bench(installation, result, rounds).run())
    result.event_hash = run_result.event_hash
    print(
        f"\n  {services} services, {result.proxies} proxies: {result.start_cpu_s:.1f} s CPU until all had joined, "
        f"{100 * result.idle_cpu_share:.1f}% of a core idle, {result.bytes_a_proxy / 1024:.0f} KiB a proxy"
    )
    print(
        f"  {'':<28}{'proxies':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'CPU ms':>10}{'net ms':>10}{'pushes':>9}{'KiB':>10}"
    )
    for change in result.changes:
        print(change.row())
    wall_s = time.perf_counter() - began
    print(f"  {run_result.virtual_s:.0f} virtual s in {wall_s:.0f} s wall, hash {result.event_hash}", flush=True)
    return result


class _Bench:
    """The driver of one size."""

    def __init__(self, installation: Installation, result: Measured, rounds: int) -> None:
        self._installation = installation
        self._result = result
        self._rounds = rounds
        self._cpu = CpuOfHost(CONTROL_PLANE)
        self._began_s = 0.0
        self._began_cpu_s = 0.0
        self._acked: dict[str, tuple[float, float]] = {}  # {proxy: (virtual s, CPU s) of its last ack}
        self._last_ack_s = 0.0
        self._joined = 0

    async def run(self) -> None:
        """Start everybody, then make one kind of change after the other."""
        world, installation, result = self._installation.world, self._installation, self._result
        trio.lowlevel.add_instrument(self._cpu)
        world.log.on("configuration.acked", self._on_acked)
        world.log.on("proxy.joined", self._on_joined)
        await installation.start_all()
        await self._settle(until_joined=installation.proxies)
        result.start_cpu_s = self._cpu.cpu_s()
        idle_cpu_s = self._cpu.cpu_s()
        await trio.sleep(IDLE_S)
        result.idle_cpu_share = (self._cpu.cpu_s() - idle_cpu_s) / IDLE_S
        result.bytes_a_proxy = self._retained() / installation.proxies
        await self._measure("endpoint added", self._rounds, self._add_endpoint)
        await self._measure("one service's policy", self._rounds, self._change_service)
        await self._measure("mesh-wide policy", max(1, self._rounds // 5), self._change_mesh)
        await self._measure("mutual TLS switched on", 1, self._switch_tls_on)

    async def _measure(self, title: str, rounds: int, change: Callable[[int], Awaitable[None]]) -> None:
        found = Change(title=title)
        tally = self._installation.tally
        for number in range(rounds):
            pushes, push_bytes = tally.pushes, tally.push_bytes
            self._acked.clear()
            self._last_ack_s = self._began_s = trio.current_time()
            self._began_cpu_s = self._cpu.cpu_s()
            await change(number)
            await self._settle()
            found.rounds += 1
            found.proxies += len(self._acked)
            found.acked_s += [sum(instant) for instant in self._acked.values()]
            virtual_s = max((virtual_s for virtual_s, _ in self._acked.values()), default=0.0)
            cpu_s = max((cpu_s for _, cpu_s in self._acked.values()), default=0.0)
            found.cpu_s += cpu_s
            found.net_cpu_s += cpu_s - virtual_s * self._result.idle_cpu_share
            found.pushes += tally.pushes - pushes
            found.push_bytes += tally.push_bytes - push_bytes
        self._result.changes.append(found)

    async def _add_endpoint(self, number: int) -> None:
        self._installation.add_instance(number * 7 % self._installation.services)

    async def _change_service(self, number: int) -> None:
        name = service_name(number * 11 % self._installation.services)
        target = {"kind": "MeshService", "labels": {"kuma.io/display-name": name}}
        await self._write(_timeout(f"to-{name}", target, f"{number + 3}s"))

    async def _change_mesh(self, number: int) -> None:
        await self._write(_timeout("everybody", {"kind": "Mesh"}, f"{number + 20}s"))

    async def _switch_tls_on(self, _: int) -> None:
        identity = {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {"type": "Bundled", "bundled": {"autogenerate": {"enabled": True}}},
        }
        members = {"spiffeID": {"type": "Prefix", "value": f"spiffe://{MESH}."}}
        await self._write(
            {"type": "MeshIdentity", "name": "everybody", "spec": identity},
            {
                "type": "MeshTrafficPermission",
                "name": "members",
                "spec": {"rules": [{"default": {"allow": [members]}}]},
            },
        )

    async def _write(self, *documents: dict[str, Any]) -> None:
        """Write resources as the API does; the store is the control plane's, so is the CPU time."""
        resources = [load_resource({**document, "mesh": MESH}, file="benchmark") for document in documents]
        done = trio.Event()

        async def write() -> None:
            try:
                changes = [Put(resource=resource) for resource in resources]
                await self._plane.catalogue.write(changes, by="benchmark")
            finally:
                done.set()  # What went wrong is recorded, and fails the run.

        self._installation.world.hosts[CONTROL_PLANE].spawn("write", write)
        await done.wait()

    async def _settle(self, *, until_joined: int = 0) -> None:
        """Wait until nobody has anything to acknowledge any more. Raises: AssertionError when somebody lags for ever."""
        began_s = trio.current_time()
        while True:
            await trio.sleep(0.1)
            now = trio.current_time()
            assert now - began_s < SETTLED_S_MAX, "the installation does not settle"
            if self._joined < until_joined or now - max(self._last_ack_s, began_s) < QUIET_S:
                continue
            if all(status.converged for status in self._plane.status()):
                return

    @property
    def _plane(self) -> ControlPlane:
        plane = self._installation.plane
        assert plane is not None, "the control plane has started"
        return plane

    def _retained(self) -> int:
        return retained_bytes(self._plane, *self._cpu.coroutines(), but=(self._installation, self))

    def _on_joined(self, _: Event) -> None:
        self._joined += 1

    def _on_acked(self, event: Event) -> None:
        if event.host == CONTROL_PLANE:
            now = trio.current_time()
            self._last_ack_s = now
            self._acked[event.fields["proxy"]] = (now - self._began_s, self._cpu.cpu_s() - self._began_cpu_s)


def _timeout(name: str, target: dict[str, Any], request: str) -> dict[str, Any]:
    item = {"targetRef": target, "default": {"http": {"requestTimeout": request}}}
    return {"type": "MeshTimeout", "name": name, "spec": {"to": [item]}}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all are not above; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _print_growth(small: Measured, large: Measured) -> None:
    """Print what grew, and how much: what is in proportion to the proxies concerned has the ratio of these."""
    print(f"\n  growth of the mesh: x{large.services / small.services:g}")
    print(f"  {'':<40}{small.services:>10}{large.services:>10}{'ratio':>9}")
    rows = [
        ("KiB a proxy", small.bytes_a_proxy / 1024, large.bytes_a_proxy / 1024),
        ("idle, % of a core", 100 * small.idle_cpu_share, 100 * large.idle_cpu_share),
        ("start, CPU s", small.start_cpu_s, large.start_cpu_s),
    ]
    for before, after in zip(small.changes, large.changes, strict=True):
        title = before.title
        rows.append((f"{title}: proxies", before.proxies / before.rounds, after.proxies / after.rounds))
        rows.append((f"{title}: p99 ms", *(1000 * quantile(change.acked_s, 0.99) for change in (before, after))))
        rows.append((f"{title}: CPU ms", *(1000 * change.cpu_s / change.rounds for change in (before, after))))
        rows.append((f"{title}: net CPU ms", *(1000 * change.net_cpu_s / change.rounds for change in (before, after))))
    for title, first, last in rows:
        print(f"  {title:<40}{first:>10.1f}{last:>10.1f}{f'x{last / first:.2f}' if first else '-':>9}")
