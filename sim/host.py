"""A simulated host: its incarnations, from boot to power cut, and what outlives them (name, address, disk)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from mesh.model.errors import MeshError
from mesh.runtime.environment import Environment, Tls
from sim.disk import SimDisk
from sim.environment import NoTls, describe, simulated_log
from sim.metered_tls import MeteredTls
from sim.network.host import NetworkHost
from sim.network.streams import HostNetwork
from sim.platter import Platter
from sim.processor import Processor
from sim.randomness import KeyedRandomness
from sim.reactor import SimReactor
from sim.wall_clock import WallClock

if TYPE_CHECKING:
    from sim.world import World

Boot = Callable[["Host"], Awaitable[None]]
TlsFactory = Callable[["Host"], Tls]  # called at each boot; may use the host's randomness, wall_clock() and name

_CALLED = "call_trio of "  # how reactors name tasks that pumps wait for


class Life:
    """One incarnation of a host: everything that ends with a power cut."""

    def __init__(self, host: "Host") -> None:
        world, network_host = host.world, host.network_host
        self.alive = True
        self.ended = trio.Event()
        self.host = host
        self.randomness = KeyedRandomness(world.seed, "host", host.name, network_host.incarnation)
        self.disk = SimDisk(host.platter, random=self.randomness.fresh("disk"), wall_clock=host.wall_clock)
        self.cancelled = False  # told to end
        self._nursery: trio.Nursery | None = None
        self._waiting_tasks: list[tuple[Callable[..., Awaitable[object]], tuple[object, ...], str]] = []
        self.log = simulated_log(world.log, host.name, lambda: self.alive)
        self.processor = host.processor
        self.reactor = SimReactor(
            clock=world.clock,
            network=world.network,
            host=network_host,
            start_task=self.start_task,
            on_crash=lambda name, error: self.crashed(f"pump {name}", error),
            on_failed=self._pump_failed,
        )
        self.reactor.gate = self.processor.gate
        self.processor.on_gate = self._on_gate

    def _on_gate(self, gate: Processor | None) -> None:
        self.reactor.gate = gate

    def environment(self, tls: Tls) -> Environment:
        """Put the environment of this incarnation together."""
        return Environment(
            host=self.host.name,
            network=HostNetwork(self.host.world.network, self.host.network_host),
            reactor=self.reactor,
            tls=tls,
            randomness=self.randomness,
            disk=self.disk,
            wall_clock=self.host.wall_clock,
            log=self.log,
        )

    def crashed(self, name: str, error: BaseException) -> None:
        """Record a bug of ours; it fails the run."""
        if self.alive:
            self.host.world.log.record(
                "actor.crashed", self.host.name, level="error", actor=name, error=repr(error), exception=describe(error)
            )

    def _pump_failed(self, name: str, error: MeshError) -> None:
        self.log.debug("pump.failed", pump=name, error=str(error), kind=type(error).__name__)

    def start_task(self, function: Callable[..., Awaitable[object]], name: str, *arguments: object) -> None:
        """Run a task within this incarnation. Its exceptions end all tasks of the host; see `spawn` for actors."""
        if self._nursery is None:
            self._waiting_tasks.append((function, arguments, name))
        elif self.alive:
            self._nursery.start_soon(function, *arguments, name=f"{self.host.name}/{name}")

    def spawn(self, name: str, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run an actor as a task within this incarnation: its crash is recorded and ends nobody else."""
        self.start_task(self._guard, name, name, function, *arguments)

    def called_tasks(self) -> list[str]:
        """Name the pumps for which a Trio task runs."""
        tasks = () if self._nursery is None else self._nursery.child_tasks
        names = sorted(task.name.partition("/")[2] for task in tasks)
        return [name.removeprefix(_CALLED) for name in names if name.startswith(_CALLED)]

    async def run(self) -> None:
        """Stay until the power is cut or the host stops."""
        await self._guard("host", self._run)
        self.ended.set()

    async def _run(self) -> None:
        self.processor.root = trio.lowlevel.current_task()
        async with trio.open_nursery() as self._nursery:
            for function, arguments, name in self._waiting_tasks:
                self.start_task(function, name, *arguments)
            self._waiting_tasks.clear()
            if not self.cancelled:
                await trio.sleep_forever()

    async def _guard(self, name: str, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        if not self.alive:
            return  # Cut before its first step: what `host` stands for may be another life by now.
        try:
            await function(*arguments)
        except* Exception as group:
            error = group.exceptions[0] if len(group.exceptions) == 1 else group
            self.crashed(name, error)

    def cut(self, reason: str = "power cut") -> None:
        """End at once. The gates close first, then tasks and pumps are cancelled: no clean-up reaches anybody."""
        self.alive = False
        self.disk.cut()
        self.reactor.die()
        self.cancel(reason)

    def cancel(self, reason: str) -> None:
        """Cancel the tasks."""
        self.cancelled = True
        self._waiting_tasks.clear()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason=reason)


class Host:
    """A machine of the simulated world. `boot(host)` is run at each start."""

    def __init__(self, world: "World", network_host: NetworkHost, boot: Boot | None) -> None:
        self.world = world
        self.network_host = network_host
        self.name = network_host.name
        self.zone = network_host.zone
        self.address = network_host.ip
        self.platter = Platter()
        self.processor = Processor(world.clock, world.withholding)
        self.date = WallClock(world.epoch, world.clock)
        self.life: Life | None = None
        self.started_s = 0.0  # the current, or last, incarnation
        self._boot = boot
        self._environment: Environment | None = None

    @property
    def alive(self) -> bool:
        """Whether the host has power."""
        return self.life is not None and self.life.alive

    @property
    def stopping(self) -> bool:
        """Whether what runs here was told to end, and cleans up."""
        return self.life is not None and self.life.alive and self.life.cancelled

    @property
    def environment(self) -> Environment:
        """The environment of the current, or last, incarnation."""
        assert self._environment is not None, f"{self.name} was never started"
        return self._environment

    @property
    def randomness(self) -> KeyedRandomness:
        """The streams of chance of the current, or last, incarnation."""
        assert self.life is not None, f"{self.name} was never started"
        return self.life.randomness

    def wall_clock(self) -> float:
        """Seconds since the epoch, as this host believes."""
        return self.date.read()

    def spawn(self, name: str, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Start an actor as a task of this incarnation. If it crashes, the run has failed, but the host lives on."""
        assert self.life is not None, f"{self.name} was never started"
        self.life.spawn(name, function, *arguments)

    def start(self) -> None:
        """Switch on; part of World.run and of restart."""
        assert not self.alive, f"{self.name} is running"
        self.network_host.power_on()
        self.started_s = self.world.now()
        self.life = life = Life(self)
        tls = NoTls() if self.world.tls_factory is None else self.world.tls_factory(self)
        tls = MeteredTls(tls, self.processor)
        self._environment = life.environment(tls)
        if self._boot is not None:
            life.spawn("boot", self._boot, self)
        self.world.start_task(life.run, name=f"{self.name}/host")
        self.world.log.record("host.started", self.name, incarnation=self.network_host.incarnation)

    def start_if_off(self) -> None:
        """Switch on, unless that has happened."""
        if not self.alive:
            self.start()

    def kill(self, *, spares_writes: bool = True) -> None:
        """Cut the power; safe to repeat. Peers see nothing, unsynced writes may be lost, or are for sure unless spared."""
        life = self.life
        if life is None or not life.alive:
            return
        self.world.log.record("host.killed", self.name)
        self.network_host.power_off()
        self.processor.end_life()
        life.cut()
        random = self.world.randomness.fresh("disk", self.name, self.network_host.incarnation)
        self.platter.crash(random, spares_writes=spares_writes)

    def crash(self, reason: str) -> None:
        """End everything that runs here, at once, as SIGKILL does; safe to repeat.

        The kernel lives: it ends the connections, so that peers know, refuses new ones, and keeps what was written.
        """
        life = self.life
        if life is None or not life.alive:
            return
        self.world.log.record("host.crashed", self.name, reason=reason)
        self.network_host.end_processes()
        self.processor.end_life()
        life.cut("crash")
        self.platter.forget_unwritten()

    @property
    def held(self) -> int:
        """Count the steps so far that did not run when they would have: for a pause, or a slow processor."""
        return self.processor.late

    def pause(self) -> None:
        """Let nothing run here until `resume`; pauses count. A crash or power cut ends them all."""
        assert self.alive, f"{self.name} is off"
        self.world.log.record("host.paused", self.name)
        self.processor.pause()

    def resume(self) -> None:
        """Take one pause back."""
        self.world.log.record("host.resumed", self.name)
        self.processor.resume()

    def restart(self) -> None:
        """Cut the power if it is on, then start a new incarnation."""
        self.kill()
        self.start()

    async def stop(self, *, grace_s: float = 5.0, machine: bool = True) -> None:
        """Shut down: cancel the tasks and let them clean up for a while, close connections, then switch the `machine` off.

        Who sleeps through it (a pause) is ended when the grace is over.
        """
        life = self.life
        if life is None or not life.alive:
            return
        life.cancel("shutdown")
        if not self.processor.paused:
            life.reactor.stop()
        with trio.move_on_after(grace_s):
            await life.ended.wait()
        if life.alive:  # Nobody has cut the power meanwhile, or started the next life.
            if machine:
                self.kill()
            else:
                self.crash("stopped")
