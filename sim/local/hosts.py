"""The hosts of a scenario on this machine: each is its processes, with what the verbs of `sim.faults` ask of a host."""

import contextlib
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from mesh.runtime.environment import Process
from mesh.runtime.real import wall_clock
from sim.local.mirrors import MirroredService, MirroredSidecar, MirroredUsers
from sim.local.places import Place
from sim.network.host import NetworkHost
from sim.workload.deployment import Edge, Instance

if TYPE_CHECKING:
    from sim.local.mesh import LocalMesh

STOP_S = 15.0


class Launcher(Protocol):
    """Starts the processes of a host."""

    def __call__(self, host: "LocalHost") -> AsyncGenerator[Process, None]:
        """Start them and yield each; the last one is the first to end."""
        ...


@attrs.define(eq=False)
class LocalProcessor:
    """Whether what runs on a host is held back, and how often it was: by a pause, or since the machine was busy."""

    pauses: int = 0
    late: int = 0

    @property
    def paused(self) -> bool:
        """Are its processes stopped?"""
        return self.pauses > 0

    @property
    def gate(self) -> object | None:
        """What holds the host back now, if anything does."""
        return self if self.paused else None


@attrs.define(eq=False)
class LocalDisk:
    """The folders in which the processes of a host keep what is to outlive them. `content`: another one after a wipe."""

    folder: Path
    content: object = attrs.field(factory=object)
    _doomed: bool = attrs.field(default=False, init=False)

    def wipe(self) -> None:
        """Lose everything by the next start; the files with which the runner starts processes are none of it."""
        self.content = object()
        self._doomed = True

    def prepare(self) -> None:
        """Be as it has to be, now that nobody is there."""
        doomed, self._doomed = self._doomed, False
        for kept in sorted(self.folder.iterdir()) if doomed else ():
            if kept.is_dir():
                shutil.rmtree(kept)


class LocalHost:
    """A host: alive while its processes run. What verbs call returns at once, and is done in the order of the calls."""

    def __init__(
        self, mesh: "LocalMesh", place: Place, network_host: NetworkHost, launch: Launcher, *, disk: LocalDisk
    ) -> None:
        self.name = place.name
        self.zone = place.zone
        self.address = place.address
        self.place = place
        self.network_host = network_host
        self.alive = False
        self.processor = LocalProcessor()
        self.platter = disk
        self.held = 0  # pauses: that a stopped process would have done something is taken for granted
        self.life: None = None  # there is nothing to look into
        self.incarnation = -1
        self.started_s = 0.0  # of this incarnation, on the runner's clock
        self.stopping = False  # it was told to end, and cleans up
        self.processes: list[Process] = []
        self._mesh = mesh
        self._launch = launch
        self._booting = trio.CancelScope()
        self._turn = trio.StrictFIFOLock()
        self._ending: dict[int, None] = {}  # processes that we have told to end

    def start(self) -> None:
        """Switch on."""
        assert not self.alive, f"{self.name} is running"
        self.alive = True
        self.incarnation += 1
        self.started_s = self._mesh.world.now()
        self.network_host.power_on()
        self._mesh.world.log.record("host.started", self.name, incarnation=self.incarnation)
        self._do(self.boot)

    def start_if_off(self) -> None:
        """Switch on, unless that has happened."""
        if not self.alive:
            self.start()

    def kill(self) -> None:
        """End all processes with SIGKILL; safe to repeat. Peers see nothing: the links go dark first."""
        if self.alive:
            self.alive = False
            self.network_host.power_off()
            self._mesh.world.log.record("host.killed", self.name)
            self._booting.cancel()
            self._do(self._cut)

    def crash(self, reason: str) -> None:
        """End all processes with SIGKILL; safe to repeat. The kernel lives: it ends their connections, so that peers know."""
        if self.alive:
            self.alive = False
            self._mesh.world.log.record("host.crashed", self.name, reason=reason)
            self._booting.cancel()
            self._do(self._kill_all)

    def restart(self) -> None:
        """Cut the power if it is on, then start again."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop all processes (SIGSTOP): they hear and say nothing."""
        self.held += 1
        self.processor.pauses += 1
        self.processor.late += 1
        self._mesh.world.log.record("host.paused", self.name)
        self._do(self._signal, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self.processor.pauses -= 1
        self.processor.late += 1
        self._mesh.world.log.record("host.resumed", self.name)
        self._do(self._signal, signal.SIGCONT)

    async def stop(self, *, machine: bool = True) -> None:
        """Shut down in order: sidecar first, so that it can finish what is under way. `machine`: switch it off, too."""
        if not self.alive:
            return
        self.stopping, incarnation = True, self.incarnation
        async with self._turn:
            for process in reversed(self.processes):
                await self._end_process(process)
        self.stopping = False
        if self.alive and self.incarnation == incarnation:  # Nobody has started the next life meanwhile.
            self.alive = False
            if machine:
                self.network_host.power_off()

    async def end_sidecar(self) -> None:
        """Drain the sidecar, which started last; it has ended then."""
        async with self._turn:
            await self._end_process(self.processes[-1])

    async def _end_process(self, process: Process) -> None:
        self._ending[process.pid] = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        with trio.move_on_after(STOP_S) as patience:
            await process.wait()
        if patience.cancelled_caught:
            process.kill()
            await process.wait()
        # Its last words come before what the next life of the host says.
        if process is self.processes[-1]:
            await self._mesh.steering.wait_gone(self.name, "sidecar")

    async def end(self) -> None:
        """End all processes, and see that they have ended."""
        self.alive = False
        self._booting.cancel()
        for process in self.processes:
            process.kill()
        for process in self.processes:
            await process.wait()

    def _do(self, action: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._mesh.world.start_task(self._in_turn, action, arguments, name=f"host {self.name}")

    async def _in_turn(self, action: Callable[..., Awaitable[None]], arguments: tuple[object, ...]) -> None:
        async with self._turn:
            await action(*arguments)

    async def boot(self) -> None:
        """Start the processes."""
        await self._mesh.steering.announce_power(self.name, on=True)
        self._mesh.graveyard.release(self.name)
        self.platter.prepare()
        self.processes = []
        with trio.CancelScope() as self._booting:
            async for process in self._launch(self):
                self.processes.append(process)
                self._mesh.world.start_task(self._look_after, process, name=f"process of {self.name}")

    @property
    def member(self) -> "LocalMember | None":
        """What runs here; None for a control plane."""
        return self._mesh.member(self.name)

    async def started(self, role: str) -> None:
        """Wait until the actor of that role runs here."""
        await self._mesh.steering.wait_started(self.name, role)

    async def _look_after(self, process: Process) -> None:
        """Note when a process ends that nobody ended: a bug of ours, or the machine's memory."""
        code = await process.wait()
        if self.alive and process in self.processes and process.pid not in self._ending:
            self._mesh.world.log.record("process.ended", self.name, level="error", code=code, pid=process.pid)

    async def _cut(self) -> None:
        await self._mesh.steering.announce_power(self.name, on=False)
        await self._kill_all()

    async def _kill_all(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            await process.wait()

    async def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def wall_clock(self) -> float:
        """Seconds since the epoch; all hosts have the machine's clock."""
        return wall_clock()


@attrs.define(eq=False, kw_only=True)
class LocalMember:
    """One instance or edge and its host. Its actors are in other processes: see `sim.local.mirrors`."""

    what: Instance | Edge
    host: LocalHost
    sidecar: MirroredSidecar | None = None
    service: MirroredService | None = None
    users: MirroredUsers | None = None
    application: None = None  # ended and started with its host only
    leaving: bool = False
    token: str = attrs.field(default="", repr=False)  # with which its sidecar joins, in all lives of the host
    token_id: str = ""
    revoked: bool = False  # its token
    starts_after_s: float = 0.0  # how long a program takes to start, on a host that is there

    @property
    def name(self) -> str:
        return self.what.name
