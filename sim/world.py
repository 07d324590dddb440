"""The simulated world: hosts on a network in virtual time, run from one seed.

Everything that happens follows from the seed: same seed and same program, same event hash. `World.run` runs a driver
(`main(world)`: the timeline, the load) beside the hosts and ends with it, at `until_s` of virtual time, or when nothing
can happen any more.
"""

import gc
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import attrs
import outcome
import trio

from sim.clock import FOREVER_NS, SimClock, SimulationStuck, ns_at_or_after
from sim.event_log import Event, EventLog
from sim.host import Boot, Host, TlsFactory
from sim.network.fabric import SimNetwork
from sim.network.links import NetworkModel
from sim.processor import Withholding
from sim.randomness import KeyedRandomness
from sim.scheduling import deterministic_scheduling
from sim.waiting import name_what_waits

T = TypeVar("T")

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z: never the day on which a run happens
_EVENTS_PER_COLLECTION = 1 << 18  # An ended connection is some 2 KiB of cycles; this bounds the young ones to 100 MiB.
_COLLECTIONS_PER_FULL = (
    4  # With thousands of sidecars a full one takes seconds, and finds little more than a young one.
)
_HOSTS_PER_ZONE_MAX = 65_024


class RunFailed(Exception):
    """Ours: actors crashed or logged errors during a run."""

    def __init__(self, result: "RunResult[Any]") -> None:
        self.result = result
        shown = "\n".join(str(event) for event in result.errors[:10])
        super().__init__(f"{len(result.errors)} errors in the simulated run, first:\n{shown}")


@attrs.frozen(kw_only=True)
class RunResult(Generic[T]):
    """How a run ended. `value` is what the driver returned; None when `until_s` came first."""

    value: T | None
    finished: bool  # the driver has returned
    event_hash: str
    errors: tuple[Event, ...]
    virtual_s: float
    wall_s: float
    events: int  # of the clock: segments, timers, wake-ups


class World:
    """Owns clock, network, hosts and event log of one run."""

    def __init__(
        self,
        *,
        seed: int,
        epoch: float = EPOCH,
        network: NetworkModel | None = None,
        tls_factory: TlsFactory | None = None,
    ) -> None:
        self.seed = seed
        self.epoch = epoch
        self.clock = SimClock()
        self.log = EventLog(self.clock)
        self.randomness = KeyedRandomness(seed)
        self.network = SimNetwork(
            clock=self.clock, log=self.log, randomness=self.randomness, model=network or NetworkModel()
        )
        self.tls_factory = tls_factory
        self.withholding = Withholding(self.clock)
        self.hosts: dict[str, Host] = {}
        self.progress: Callable[[float], None] | None = None  # called now and then with the virtual seconds
        self._hosts_by_zone: dict[str, int] = {}
        self._nursery: trio.Nursery | None = None
        self._ending: trio.lowlevel.Task | None = None  # parked until the run is to end
        self._collect_at = _EVENTS_PER_COLLECTION
        self._collections = 0
        self._ended_s = 0.0
        self._events_run = 0

    def now(self) -> float:
        """Virtual time in seconds."""
        return self.clock.now_s

    def leap(self, seconds: float) -> None:
        """Move the date of the whole world on, as if the run had begun so much earlier; spans of time go on as they were."""
        assert seconds >= 0, "time does not go back"
        self.epoch += seconds
        for host in self.hosts.values():
            host.date.leap(seconds)

    def add_host(
        self, name: str, *, zone: str = "zone-1", address: str | None = None, boot: Boot | None = None
    ) -> Host:
        """Add a host; it starts with the run, or at once during it. Raises: ConfigError when name or address are taken."""
        ip = address or self._next_ip(zone)
        host = self.hosts[name] = Host(self, self.network.add_host(name, zone=zone, ip=ip), boot)
        if self._nursery is not None:
            host.start()
        return host

    def start_task(self, function: Callable[..., Awaitable[object]], *arguments: object, name: str) -> None:
        """Start a task of the world's own, such as a load generator. If it raises, the run ends with that."""
        assert self._nursery is not None, "the world is not running"
        self._nursery.start_soon(self._guard, function, *arguments, name=name)

    def run(
        self,
        main: Callable[["World"], Awaitable[T]],
        *,
        until_s: float = math.inf,
        tolerate_errors: bool = False,
    ) -> RunResult[T]:
        """Run the world, once in its life.

        Raises: what `main` raises; SimDeadlock, SimLivelock; RunFailed when there were errors, unless tolerated.
        """
        assert self._nursery is None, "a world runs once"
        self.clock.on_housekeeping = self._keep_house
        started = time.perf_counter()
        with deterministic_scheduling(self.seed, self.clock), _quiet_garbage_collection():
            finished = trio.run(
                self._run, main, until_s, clock=self.clock, restrict_keyboard_interrupt_to_checkpoints=True
            )
        result = RunResult(
            value=finished[0] if finished else None,
            finished=bool(finished),
            event_hash=self.log.event_hash(),
            errors=tuple(self.log.errors),
            virtual_s=self._ended_s,
            wall_s=time.perf_counter() - started,
            events=self._events_run,
        )
        if result.errors and not tolerate_errors:
            raise RunFailed(result)
        return result

    async def _run(self, main: Callable[["World"], Awaitable[T]], until_s: float) -> list[T]:
        """Return what the driver returned, as a list of one, or an empty list when the time was over first."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._ending = trio.lowlevel.current_task()
            self.clock.on_failure = self._fail
            until_ns = ns_at_or_after(until_s)
            if until_ns < FOREVER_NS:
                self.clock.push(until_ns, self._end, outcome.Value([]))
            for host in self.hosts.values():
                host.start()
            nursery.start_soon(self._guard, self._drive, main, name="driver")
            try:
                ending = await trio.lowlevel.wait_task_rescheduled(self._abort_ending)
            except KeyboardInterrupt as interrupt:
                ending = outcome.Error(interrupt)  # Raised below, where no nursery wraps it.
            self._switch_off()
            nursery.cancel_scope.cancel()
        result: list[T] = ending.unwrap()
        return result

    async def _drive(self, main: Callable[["World"], Awaitable[T]]) -> None:
        self._end(outcome.Value([await main(self)]))

    async def _guard(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        try:
            await function(*arguments)
        except Exception as error:
            self._end(outcome.Error(error))

    def _end(self, ending: "outcome.Outcome[list[Any]]") -> None:
        task, self._ending = self._ending, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(ending))

    def _fail(self, error: Exception) -> None:
        if isinstance(error, SimulationStuck):
            error = type(error)(f"{error}\n{name_what_waits(self._nursery, self.hosts.values())}")
        if self._ending is None:
            raise error  # The run is over, and a task's clean-up never ends: nobody is left who could be told.
        self._end(outcome.Error(error))

    def _abort_ending(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._ending = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _switch_off(self) -> None:
        # What tasks do while they are cancelled belongs to no run: Trio's order of cancellation is not repeatable.
        self.log.close()
        self._ended_s = self.clock.now_s
        self._events_run = self.clock.events_run
        self.clock.heap.clear()
        for host in self.hosts.values():
            host.kill()

    def _keep_house(self) -> None:
        self.log.flush()
        if self.clock.sequence >= self._collect_at:
            self._collect_at = self.clock.sequence + _EVENTS_PER_COLLECTION
            self._collections += 1
            gc.collect(1 if self._collections % _COLLECTIONS_PER_FULL else 2)
        if self.progress is not None:
            self.progress(self.clock.now_s)

    def _next_ip(self, zone: str) -> str:
        zone_number = list(self._hosts_by_zone).index(zone) if zone in self._hosts_by_zone else len(self._hosts_by_zone)
        number = self._hosts_by_zone[zone] = self._hosts_by_zone.get(zone, 0) + 1
        assert zone_number < 256 and number < _HOSTS_PER_ZONE_MAX, "too many zones or hosts"
        return f"10.{zone_number}.{number // 254}.{number % 254 + 1}"


@contextmanager
def _quiet_garbage_collection() -> Iterator[None]:
    """Collect at counted events only, and not what was there before: finalizers must run at repeatable moments."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
