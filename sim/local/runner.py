"""Runs a scenario on real processes of this machine, with its timeline, and judges it by the same checks as a simulated run.

The scenario's time 0 is the moment at which every proxy has its configuration. Times are those of the machine: a minute of
the scenario takes a minute.
"""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Processes
from mesh.runtime.real.processes import RealProcesses
from sim.checks.convergence import ConvergenceWatcher
from sim.checks.evidence import Evidence
from sim.checks.gauges import GaugeSampler
from sim.checks.inspection import LOOK_S
from sim.checks.suspects import Suspects
from sim.checks.watcher import Watcher
from sim.conclusion import READY_S_MAX, Observed, conclude
from sim.course import Course
from sim.faults.timeline import Timeline
from sim.local.control_plane import ControlPlane
from sim.local.forker import Forker
from sim.local.judged import LOCAL_PROMISES, LOCAL_WATCHERS, unjudged
from sim.local.mesh import LocalMesh, as_simulated
from sim.local.program import Program
from sim.local.reach import lacking_of, without
from sim.local.sockets import Sockets
from sim.local.steered_verb import steer
from sim.report.capture import Capture
from sim.report.files import save, wanted_files
from sim.report.material import HostFacts, Material
from sim.report.result import RunResult
from sim.runner import Progress
from sim.scenario.promises import metrics_of
from sim.scenario.scenario import Scenario
from sim.workload.observations import ServiceTally, UserLog

END_S = 5.0
HINT = "leave it out, or let it be left out with --allow-missing"
_POLL_S = 0.1
_SETTLE_S = 1.0  # between the last configuration and the first user: probes, first connections
_LAST_REPORTS_S = 0.3

MakeControlPlane = Callable[[Scenario, Path, Processes], ControlPlane]


@attrs.frozen(kw_only=True)
class LocalOptions:
    """How a run on this machine is done. `allow_missing`: leave out what cannot be done here, instead of refusing."""

    until_s: float | None = None
    out_dir: Path | None = None
    overrides: tuple[str, ...] = ()
    allow_missing: bool = False


class _Run:
    """One run."""

    def __init__(self, scenario: Scenario, options: LocalOptions, on_progress: Callable[[Progress], None]) -> None:
        self.scenario = scenario
        self.options = options
        end_s = scenario.duration_s if options.until_s is None else min(options.until_s, scenario.duration_s)
        if end_s <= scenario.warmup_s:
            message = f"a run until {end_s:g}s ends within the warm-up ({scenario.warmup_s:g}s): nothing to judge"
            raise ConfigError([Violation(message=message, file=scenario.file)])
        self.evidence = Evidence(scenario=scenario, ended_s=end_s, users=UserLog(), services=ServiceTally())
        folder = options.out_dir or (Path(scenario.output.folder) if scenario.output.folder else None)
        self.out_dir = folder
        self.names = wanted_files(scenario.output.save) if folder else ()
        self.capture = Capture(self.names)
        self.on_progress = on_progress
        self.not_ready: tuple[str, ...] = ()
        self.watchers: list[Watcher] = []
        self.load_before = os.getloadavg()[0]
        self.cpu_s = 0.0
        self.course: Course | None = None

    async def run(self, make_control_plane: MakeControlPlane) -> RunResult:
        """Start everything, live through the timeline, end everything, judge.

        Raises: ConfigError (in a group) when something cannot be started.
        """
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mesh-run-") as scratch:
            # It outlives all tasks that use it.
            mesh = await self._run_in(Path(scratch), make_control_plane)
        return self._conclude(mesh, wall_s=time.monotonic() - began)

    async def _run_in(self, folder: Path, make_control_plane: MakeControlPlane) -> LocalMesh:
        async with trio.open_nursery() as nursery:
            processes = RealProcesses(str(folder))
            control_plane = make_control_plane(self.scenario, folder, processes)
            sockets = Sockets.below(folder)
            forker = Forker(processes, sockets.forker)
            program = Program(
                self.scenario,
                overrides=self.options.overrides,
                folder=folder,
                sockets=sockets,
                forker=forker,
                control_plane=control_plane,
            )
            mesh = LocalMesh(
                self.scenario,
                self.evidence,
                nursery,
                sockets=sockets,
                control_plane=control_plane,
                launch=program.launch,
                folder=folder,
            )
            self._observe(mesh)
            async with _running(mesh, forker):
                await nursery.start(forker.run)
                if await self._start(mesh, nursery):
                    await self._live(mesh, nursery)
            self.cpu_s = forker.cpu_s
            self._keep_logs(folder)
            nursery.cancel_scope.cancel()
        return mesh

    def _observe(self, mesh: LocalMesh) -> None:
        """Let everybody look who looks at a simulated run, as far as there is something to see."""
        simulated = as_simulated(mesh)
        self.watchers = [watcher(simulated) for watcher in LOCAL_WATCHERS]
        self.evidence.suspects = Suspects(lambda: mesh.origin_s)
        mesh.inspection.observers += [*self.watchers, *self.capture.observers, self.evidence.suspects]
        gauges = GaugeSampler(simulated, metrics_of(self.scenario.checks))
        if gauges.wanted:
            mesh.inspection.observers.append(gauges)

    async def _start(self, mesh: LocalMesh, nursery: trio.Nursery) -> bool:
        """Start the processes and wait until every proxy runs what it should; False when that does not come about."""
        await nursery.start(mesh.steering.run)
        await nursery.start(mesh.graveyard.run)
        mesh.control_plane_host.start()
        while not mesh.plane.serving:
            await trio.sleep(_POLL_S)
        nursery.start_soon(mesh.plane.watch)
        for member in mesh.members.values():
            member.host.start()
        names = list(mesh.members)
        with trio.move_on_after(READY_S_MAX):
            while True:
                await trio.sleep(_POLL_S)
                self.not_ready = mesh.lagging(names)
                if not self.not_ready and len(mesh.steering.connected) == 2 * len(names):
                    await trio.sleep(_SETTLE_S)
                    return True
        return False

    async def _live(self, mesh: LocalMesh, nursery: trio.Nursery) -> None:
        """From the first user to the last answer."""
        end_s = self.evidence.ended_s
        mesh.go(trio.current_time() + _SETTLE_S, until_s=end_s)
        timeline = Timeline(as_simulated(mesh), until_s=end_s)
        self.course = Course(as_simulated(mesh), timeline, until_s=end_s, promises=LOCAL_PROMISES, judges_idle=False)
        await trio.sleep_until(mesh.origin_s)
        mesh.world.log.record("scenario.began", "timeline")
        watcher = ConvergenceWatcher(as_simulated(mesh))
        for entry in self.scenario.timeline:
            if entry.verb.reconfigures and entry.at_s < end_s:
                nursery.start_soon(self._watch, mesh, watcher, entry.at_s, entry.title())
        async with trio.open_nursery() as inspecting:
            inspecting.start_soon(self._inspect, mesh, timeline)
            await self.course.run()
            inspecting.cancel_scope.cancel()
        await trio.sleep(_LAST_REPORTS_S)
        now_s = await self._look(mesh)
        for watching in self.watchers:
            watching.finish(now_s)
        self.evidence.users.visits.sort(key=lambda visit: visit.end_s)
        self.evidence.users.journeys.sort(key=lambda journey: journey.end_s)

    async def _watch(self, mesh: LocalMesh, watcher: ConvergenceWatcher, at_s: float, what: str) -> None:
        await trio.sleep_until(mesh.origin_s + at_s)
        await watcher.watch(what)

    async def _look(self, mesh: LocalMesh) -> float:
        """Look at everything; return when that was, in seconds of the run."""
        with trio.CancelScope(shield=True):  # A look that was begun is ended: what was gathered is for the observers.
            now_s = await mesh.hearing.gather() - mesh.origin_s
            mesh.inspection.look(now_s)
        return now_s

    async def _inspect(self, mesh: LocalMesh, timeline: Timeline) -> None:
        while True:
            await trio.sleep(LOOK_S)
            now_s = await self._look(mesh)
            self.on_progress(
                Progress(
                    now_s=max(0.0, now_s),
                    duration_s=self.evidence.ended_s,
                    active=tuple(timeline.titles()),
                    journeys=len(self.evidence.users.journeys),
                )
            )

    def _keep_logs(self, folder: Path) -> None:
        if self.out_dir is None:
            return
        logs = self.out_dir / "logs"
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for file in sorted((folder / "logs").glob("*.log")):
                (logs / file.name).write_bytes(file.read_bytes())
        except OSError as error:
            message = f"cannot keep the logs: {error.strerror}"
            raise ConfigError([Violation(message=message, file=str(logs))]) from error

    def _conclude(self, mesh: LocalMesh, *, wall_s: float) -> RunResult:
        observed = Observed(
            evidence=self.evidence,
            watchers=self.watchers,
            outcomes=self.course.verdicts if self.course is not None else (),
            errors=mesh.world.log.errors,
            not_ready=self.not_ready,
        )
        result = conclude(
            observed,
            event_hash="real",
            virtual_s=self.evidence.ended_s,
            wall_s=wall_s,
            notes=(self._processor_note(), unjudged(phases=self.scenario.phases is not None)),
        )
        if self.out_dir is not None:
            save(self._material(mesh, result), self.out_dir, self.names)
        return result

    def _processor_note(self) -> str:
        """Say what the machine spent: simulated requests cost no processor time, real ones do, and wait for it."""
        cpu_s, hops = self.cpu_s, max(1, self.evidence.hops)
        return (
            f"processor: {cpu_s:.1f}s in sidecars, applications and users, {cpu_s / hops * 1e3:.1f}ms a hop; "
            f"{self.load_before:.1f} processes waited for {os.cpu_count()} processors before"
        )

    def _material(self, mesh: LocalMesh, result: RunResult) -> Material:
        workloads = mesh.workload_by_host
        hosts = [
            HostFacts(name=host.name, zone=host.zone, workload=workloads.get(host.name, ""), address=host.address)
            for host in mesh.world.hosts.values()
        ]
        return Material(
            result=result,
            evidence=self.evidence,
            events=mesh.world.log.events,
            hosts=hosts,
            capture=self.capture,
            epoch=mesh.epoch,
        )


@asynccontextmanager
async def _running(mesh: LocalMesh, forker: Forker) -> AsyncIterator[None]:
    """End all processes at the end, whatever happened."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(END_S):
                await mesh.end()
            forker.end()


def run_locally(
    scenario: Scenario,
    options: LocalOptions,
    *,
    make_control_plane: MakeControlPlane,
    progress: Callable[[Progress], None],
) -> RunResult:
    """Run a scenario on real processes and judge it; write its files to the options' folder.

    Raises: ConfigError when the scenario asks for what cannot be done here (see `sim.local.reach`), or something fails to
    start.
    """
    lacking = lacking_of(scenario)
    if lacking and not options.allow_missing:
        raise ConfigError(
            [
                Violation(file=scenario.file, message=f"cannot be done on real processes: {what}", hint=HINT)
                for what in lacking
            ]
        )
    # Processes know entries by their numbers in the file, so they are steered before any is left out.
    scenario = steer(scenario)
    scenario = without(scenario, lacking_of(scenario))
    return trio.run(_Run(scenario, options, progress).run, make_control_plane, strict_exception_groups=True)
