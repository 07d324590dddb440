"""Workload (h): how large and how long a simulation may be: thousands of sidecars, a day of virtual time, an idle mesh.

Every sidecar is the product's own: registration with a token, a certificate, its configuration, listeners, health, load;
with all checks that are always on. Each measurement has a process of its own, for memory is what that process resides in.
"""

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path, PurePath

import attrs
import trio

from mesh.identity.trust import PathCache
from sim.assembly import SimulatedMesh
from sim.checks.always.catalogue import WATCHERS
from sim.checks.evidence import Evidence
from sim.checks.inspection import LOOK_S
from sim.checks.suspects import Suspects
from sim.checks.watcher import Watcher
from sim.faults.links import links_of
from sim.scenario.loader import parse_scenario
from sim.scenario.scenario import Scenario
from sim.tls import ModelledTls
from sim.workload.observations import ServiceTally, UserLog
from sim.world import World

SIZES = (1_000, 10_000)  # sidecars
INSTANCES = 10  # of each service
CALLED = 2  # services by each service
LOAD_S = 30.0
DAY_H = 24
SAMPLE_H = 2
_POLL_S = 1.0
_READY_S_MAX = 1800.0
_MIB = 1 << 20

_SCENARIO = """
type: Scenario
format: 1
name: {name}
duration: {duration_s}s
warmup: 1s
zones: [here]
services:
{services}
workload: {{visitors: {{rate: {rate}/s, journeys: {{look: [{entries}]}}, timeout: 2s}}}}
checks: [{{name: works, expect: success(look) >= 90%}}]
"""


def run(*, sizes: Iterable[int] = SIZES, hours: int = DAY_H) -> None:
    """Measure each size, the day and the idle mesh, and print a line for each."""
    print("\n(h) scale of the simulation: one process each, checks and telemetry on")
    for arguments in (*(["--sidecars", str(size)] for size in sizes), ["--idle"], ["--hours", str(hours)]):
        subprocess.run([sys.executable, "-m", "tests.benchmarks.simulation_scale", *arguments], check=True)


def scenario_of(sidecars: int, *, rate: float, duration_s: float) -> Scenario:
    """Return a mesh of so many sidecars, `INSTANCES` a service: each service calls the next two, only the last ones nobody."""
    count = max(1, sidecars // INSTANCES)
    lines = []
    for number in range(count):
        called = [
            number + step for step in range(1, CALLED + 1) if number + step < count and number % (CALLED + 1) == 0
        ]
        steps = ["{work: {mean: 2ms}}", *[f"{{call: s{other} GET /}}" for other in called]]
        endpoints = f"{{GET /: {{steps: [{', '.join(steps)}]}}}}"
        lines.append(f"  s{number}: {{instances: {{here: {min(INSTANCES, sidecars)}}}, endpoints: {endpoints}}}")
    entries = ", ".join(f"GET s{number}/" for number in range(0, count, max(1, count // 5))[:3])
    text = _SCENARIO.format(
        name=f"scale-{sidecars}", duration_s=duration_s, services="\n".join(lines), rate=rate, entries=entries
    )
    return parse_scenario(text, file="scale.yaml", folder=PurePath())


@attrs.define(eq=False)
class Measurement:
    """One simulated mesh: when it stood, and how it goes on. Times are CPU seconds of this process, memory is resident."""

    scenario: Scenario
    world: World = attrs.field(init=False)
    mesh: SimulatedMesh = attrs.field(init=False)
    evidence: Evidence = attrs.field(init=False)
    watchers: list[Watcher] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        scenario, cache = self.scenario, PathCache()
        self.evidence = Evidence(
            scenario=scenario, ended_s=scenario.duration_s, users=UserLog(), services=ServiceTally()
        )
        self.world = World(
            seed=scenario.seed,
            network=links_of(scenario.network),
            tls_factory=lambda host: ModelledTls(host.wall_clock, host.randomness.stream("tls"), cache=cache),
        )
        self.mesh = SimulatedMesh(scenario, self.world, self.evidence)
        self.watchers = [watcher(self.mesh) for watcher in WATCHERS]
        self.evidence.suspects = Suspects(lambda: self.mesh.origin_s)
        self.mesh.inspection.observers += [*self.watchers, self.evidence.suspects]

    async def stand(self) -> None:
        """Wait until every sidecar runs what it should."""
        names = list(self.mesh.members)
        with trio.fail_after(_READY_S_MAX):
            await trio.sleep(_POLL_S)
            while self.mesh.lagging(names):
                await trio.sleep(_POLL_S)
        self.mesh.origin_s = self.evidence.origin_s = trio.current_time()

    async def go_on(self, seconds: float) -> None:
        """Let virtual time pass, with a look at everything each second."""
        end_s = trio.current_time() + seconds
        while trio.current_time() < end_s:
            await trio.sleep(LOOK_S)
            self.mesh.inspection.look(trio.current_time() - self.mesh.origin_s)

    @property
    def sidecars(self) -> int:
        return len(self.mesh.members)

    @property
    def findings(self) -> int:
        """How many times something happened that never may."""
        return sum(watcher.found for watcher in self.watchers) + len(self.world.log.errors)


def measure_size(sidecars: int) -> None:
    """A mesh of many sidecars: until it stands, then half a minute of light load."""
    resident_before = resident_bytes()
    measured = Measurement(scenario_of(sidecars, rate=20, duration_s=LOAD_S))

    async def drive(world: World) -> None:
        began_s = time.process_time()
        await measured.stand()
        stood_s, virtual_s = time.process_time() - began_s, trio.current_time()
        resident = resident_bytes() - resident_before
        print(
            f"  {measured.sidecars:6d} sidecars: stand after {virtual_s:.0f} virtual s and {stood_s:.0f} s CPU, "
            f"{stood_s / measured.sidecars * 1e3:.1f} ms and {resident / measured.sidecars / 1024:.0f} KiB each",
            flush=True,
        )
        measured.mesh.loading.set()
        events, began_s = world.clock.events_run, time.process_time()
        await measured.go_on(LOAD_S)
        took_s = time.process_time() - began_s
        events = world.clock.events_run - events
        print(
            f"         20 visits/s: {measured.evidence.hops} hops, {LOAD_S / took_s:.2f} x real time, "
            f"{events / took_s:.0f} events/s, {resident_bytes() / _MIB:.0f} MiB, {measured.findings} findings",
            flush=True,
        )

    measured.world.run(drive, tolerate_errors=True)


def measure_idle(sidecars: int = 100, seconds: float = 600.0) -> None:
    """A mesh that nobody asks anything: heartbeats, renewals, probes and looks alone."""
    measured = Measurement(scenario_of(sidecars, rate=1, duration_s=seconds))

    async def drive(world: World) -> None:
        await measured.stand()
        events, began_s = world.clock.events_run, time.process_time()
        await measured.go_on(seconds)
        took_s = time.process_time() - began_s
        events = world.clock.events_run - events
        print(
            f"  idle mesh of {measured.sidecars} sidecars: {seconds / took_s:.1f} x real time, "
            f"{events / took_s:.0f} events/s, {took_s / seconds / measured.sidecars * 1e6:.0f} us a sidecar and virtual s",
            flush=True,
        )

    measured.world.run(drive, tolerate_errors=True)


def measure_day(hours: int) -> None:
    """A small mesh with a visit a second: what resides after every two virtual hours."""
    measured = Measurement(scenario_of(4, rate=1, duration_s=hours * 3600.0))
    residents: list[float] = []

    async def drive(world: World) -> None:
        await measured.stand()
        measured.mesh.loading.set()
        began_s = time.process_time()
        for hour in range(SAMPLE_H, hours + 1, SAMPLE_H):
            await measured.go_on(SAMPLE_H * 3600.0)
            gc.collect()
            residents.append(resident_bytes() / _MIB)
            print(f"    {hour:2d} h: {residents[-1]:.1f} MiB", flush=True)
        took_s = time.process_time() - began_s
        print(
            f"  {hours} virtual hours of {measured.sidecars} sidecars: {hours * 3600.0 / took_s:.0f} x real time, "
            f"{measured.evidence.hops} hops, {residents[-1] - residents[0]:+.1f} MiB after the first {SAMPLE_H} h, "
            f"{measured.findings} findings",
            flush=True,
        )

    measured.world.run(drive, tolerate_errors=True)


def resident_bytes() -> int:
    """Return what of this process is in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.simulation_scale", description=__doc__)
    parser.add_argument("--sidecars", type=int, default=0, help="a mesh of so many")
    parser.add_argument("--idle", action="store_true", help="a mesh without load")
    parser.add_argument("--hours", type=int, default=0, help="of virtual time of a small mesh")
    arguments = parser.parse_args()
    if arguments.sidecars:
        measure_size(arguments.sidecars)
    if arguments.idle:
        measure_idle()
    if arguments.hours:
        measure_day(arguments.hours)


if __name__ == "__main__":
    main()
