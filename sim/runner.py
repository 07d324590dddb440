"""Runs a scenario in simulation: builds its mesh, waits until it stands, lets load and timeline go, judges what was seen.

The scenario's time 0 is the moment at which every proxy has its configuration. After the load has stopped, what is
under way may finish (a drain, bounded), so that counts at the end compare like with like.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from mesh.identity.tls import OpenSslTls
from mesh.identity.trust import PathCache
from mesh.model.errors import ConfigError, Violation
from sim.assembly import SimulatedMesh
from sim.autoscaling import keep_scaled
from sim.checks.always.catalogue import WATCHERS
from sim.checks.convergence import ConvergenceWatcher
from sim.checks.evidence import Evidence
from sim.checks.gauges import GaugeSampler
from sim.checks.inspection import LOOK_S
from sim.checks.suspects import Suspects
from sim.conclusion import READY_S_MAX, Observed, conclude
from sim.course import Course
from sim.entry_file import EntryWriter
from sim.faults.links import links_of
from sim.faults.network.buggify import Buggify
from sim.faults.timeline import Timeline
from sim.host import TlsFactory
from sim.report.capture import Capture
from sim.report.files import save, wanted_files
from sim.report.material import HostFacts, Material
from sim.report.result import RunResult
from sim.scenario.promises import metrics_of
from sim.scenario.scenario import Scenario
from sim.tls import ModelledTls
from sim.workload.observations import ServiceTally, UserLog
from sim.world import World

_POLL_S = 0.1


@attrs.frozen(kw_only=True)
class Progress:
    """How far a run is, for a line on the screen. `active` names the faults of the moment."""

    now_s: float
    duration_s: float
    active: tuple[str, ...] = ()
    journeys: int = 0


class _Run:
    """One run of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        until_s: float,
        capture: Capture,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.scenario = scenario
        self.evidence = Evidence(scenario=scenario, ended_s=until_s, users=UserLog(), services=ServiceTally())
        self.capture = capture
        self.world = World(
            seed=scenario.seed, network=links_of(scenario.network), tls_factory=_tls_factory(scenario.tls)
        )
        capture.attach(self.world.network)
        self.mesh = SimulatedMesh(scenario, self.world, self.evidence)
        self.watchers = [watcher(self.mesh) for watcher in WATCHERS]
        self.evidence.suspects = Suspects(lambda: self.mesh.origin_s)
        self.mesh.inspection.observers += [*self.watchers, *capture.observers, self.evidence.suspects]
        gauges = GaugeSampler(self.mesh, metrics_of(scenario.checks))
        if gauges.wanted:
            self.mesh.inspection.observers.append(gauges)
        self.timeline = Timeline(self.mesh, until_s=until_s)
        self.course = Course(self.mesh, self.timeline, until_s=until_s)
        self.on_progress = on_progress
        self.not_ready: tuple[str, ...] = ()
        if on_progress is not None:
            self.world.progress = self._report_progress

    async def drive(self, world: World) -> None:
        """Be the world's driver."""
        mesh = self.mesh
        if self.scenario.buggify:
            Buggify(share=self.scenario.buggify).begin(mesh, "buggify")
        if not await self._wait_ready():
            return
        mesh.origin_s = self.evidence.origin_s = trio.current_time()
        world.log.record("scenario.began", "timeline")
        mesh.loading.set()
        world.start_task(self._inspect, name="inspection")
        watcher = ConvergenceWatcher(mesh)
        for entry in self.scenario.timeline:
            if entry.verb.reconfigures and entry.at_s < self.evidence.ended_s:
                world.start_task(self._watch, watcher, entry.at_s, entry.title(), name="convergence")
        for service in self.scenario.services:
            if service.autoscale is not None:
                world.start_task(keep_scaled, mesh, service, service.autoscale, name=f"autoscale {service.name}")
        await self.course.run()
        mesh.inspection.look(self._now_s())
        for watching in self.watchers:
            watching.finish(self._now_s())

    def _now_s(self) -> float:
        return trio.current_time() - self.mesh.origin_s

    async def _inspect(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            self.mesh.inspection.look(self._now_s())

    async def _watch(self, watcher: ConvergenceWatcher, at_s: float, what: str) -> None:
        await trio.sleep_until(self.mesh.origin_s + at_s)
        await watcher.watch(what)

    async def _wait_ready(self) -> bool:
        """Wait until every proxy runs what it should; False when that does not come about."""
        names = list(self.mesh.members)
        with trio.move_on_after(READY_S_MAX):
            while True:
                await trio.sleep(_POLL_S)
                self.not_ready = self.mesh.lagging(names)
                if not self.not_ready:
                    return True
        return False

    def _report_progress(self, now_s: float) -> None:
        assert self.on_progress is not None
        self.on_progress(
            Progress(
                now_s=max(0.0, now_s - self.mesh.origin_s) if self.mesh.loading.is_set() else 0.0,
                duration_s=self.evidence.ended_s,
                active=tuple(self.timeline.titles()),
                journeys=len(self.evidence.users.journeys),
            )
        )


def run_scenario(
    scenario: Scenario,
    *,
    seed: int | None = None,
    until_s: float | None = None,
    out_dir: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    entries: EntryWriter | None = None,
) -> RunResult:
    """Run a scenario and judge it; write its files to `out_dir` (default: the scenario's `output.dir`, else nowhere).

    `entries` gets all that enters the event hash, to compare runs by.

    Raises: ConfigError when `until_s` leaves nothing to judge or files cannot be written.
    """
    folder = out_dir if out_dir is not None else scenario.output.folder
    names = wanted_files(scenario.output.save) if folder else ()
    material = observe_scenario(scenario, seed=seed, until_s=until_s, wanted=names, progress=progress, entries=entries)
    if folder:
        save(material, Path(folder), names)
    return material.result


def observe_scenario(
    scenario: Scenario,
    *,
    seed: int | None = None,
    until_s: float | None = None,
    wanted: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    entries: EntryWriter | None = None,
) -> Material:
    """Run a scenario and judge it; return all that was kept of it: what the files named in `wanted` need.

    Raises: ConfigError when `until_s` leaves nothing to judge.
    """
    if seed is not None:
        scenario = attrs.evolve(scenario, seed=seed)
    end_s = scenario.duration_s if until_s is None else min(until_s, scenario.duration_s)
    if end_s <= scenario.warmup_s:
        message = f"a run until {end_s:g}s ends within the warm-up ({scenario.warmup_s:g}s): there is nothing to judge"
        raise ConfigError([Violation(message=message, file=scenario.file)])
    run = _Run(scenario, until_s=end_s, capture=Capture(wanted), on_progress=progress)
    if entries is not None:
        entries.follow(run.world.log)
    outcome = run.world.run(run.drive, tolerate_errors=True)
    result = conclude(
        Observed(
            evidence=run.evidence,
            watchers=run.watchers,
            outcomes=run.course.verdicts,
            errors=outcome.errors,
            not_ready=run.not_ready,
        ),
        event_hash=outcome.event_hash,
        virtual_s=outcome.virtual_s,
        wall_s=outcome.wall_s,
    )
    return _material(run, result)


def _material(run: _Run, result: RunResult) -> Material:
    return Material(
        result=result,
        evidence=run.evidence,
        events=run.world.log.events,
        hosts=[
            HostFacts(
                name=host.name,
                zone=host.zone,
                workload=run.mesh.workload_by_host.get(host.name, ""),
                address=host.address,
            )
            for host in run.world.hosts.values()
        ],
        capture=run.capture,
        epoch=run.world.epoch,
    )


def _tls_factory(kind: str) -> TlsFactory:
    cache = PathCache()
    if kind == "real":
        return lambda host: OpenSslTls(host.wall_clock, cache=cache)
    return lambda host: ModelledTls(host.wall_clock, host.randomness.stream("tls"), cache=cache)
