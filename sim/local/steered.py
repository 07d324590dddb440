"""A process's side of the steering: does what the runner says, and tells it what was seen.

A fault of the links is begun here as it is in simulation: the same verb, on this process's own part of the network.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import attrs
import msgspec
import trio

from sim.faults.active import Active
from sim.local.graveyard import bury
from sim.local.links import ProcessLinks
from sim.local.messages import (
    Begin,
    Behave,
    Channel,
    Done,
    End,
    Go,
    Know,
    Look,
    Power,
    Report,
    Spare,
    ToProcess,
    Welcome,
)
from sim.local.places import Place
from sim.local.reporting import REPORT_S, KeptEvents
from sim.local.roles import Role
from sim.network.fabric import SimNetwork
from sim.randomness import KeyedRandomness
from sim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_LATE_S = 0.02  # A process that sleeps this much longer than it meant to has waited for a processor.


@attrs.frozen(kw_only=True)
class LinksOfWorld:
    """As much of a world as the verbs of the network touch. `hosts`: all of them, by name."""

    network: SimNetwork
    randomness: KeyedRandomness  # as everybody's: what is drawn once for all links is the same in all processes
    hosts: dict[str, Place]

    def now(self) -> float:
        return self.network.clock.now_s


class LinksOfMesh:
    """As much of a mesh as the verbs of the network touch."""

    def __init__(self, scenario: Scenario, network: SimNetwork) -> None:
        self.scenario = scenario
        self.places: dict[str, Place] = {}
        self.world = LinksOfWorld(network=network, randomness=KeyedRandomness(scenario.seed), hosts=self.places)

    def hosts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return zones and hosts: the name of a service stands for its instances."""
        found: list[str] = []
        for name in names:
            instances = [] if name in self.scenario.zones else self._instances(name)
            found += instances or [name]
        return tuple(found)

    def _instances(self, service: str) -> list[str]:
        return [place.name for place in self.places.values() if place.service == service]


class SteeredProcess:
    """See the module's text."""

    def __init__(
        self,
        scenario: Scenario,
        links: ProcessLinks,
        role: Role,
        channel: Channel,
        *,
        graveyard: str,
        events: KeptEvents,
    ) -> None:
        self.welcomed = trio.Event()
        self._scenario = scenario
        self._links = links
        self._graveyard = graveyard
        self._role = role
        self._channel = channel
        self._mesh = LinksOfMesh(scenario, links.network)
        self._active: dict[int, Active] = {}
        self._bit: dict[int, None] = {}
        self._last: Report | None = None
        self._events = events
        self._late = 0

    async def obey(self) -> None:
        """Do what the runner says until it is gone; then there is nobody to work for, and its end ends us."""
        async for message in self._channel.receive(ToProcess):
            await self._do(message)

    async def _do(self, message: ToProcess) -> None:
        match message:
            case Welcome():
                self._know(message.places)
                for name in message.off:
                    self._links.set_power(name, on=False)
                for entry in message.begun:
                    self._begin(entry)
                self.welcomed.set()
            case Know():
                self._know(message.places)
            case Power():
                if message.name == self._links.own.name:
                    bury(self._graveyard, message.name, self._links.real_sockets())
                self._links.set_power(message.name, on=message.on)
                await self._channel.send(Done(message.number))
            case Begin():
                self._begin(message.entry)
            case End():
                self._end(message.entry)
            case Spare():
                active = self._active.get(message.entry)
                if active is not None and not active.spare(frozenset(message.core)):
                    self._end(message.entry)
            case Behave():
                self._role.behave(message)
            case Go():
                self._role.go(message)
            case Look():
                await self.report_now(look=message.number)

    def _know(self, places: tuple[Place, ...]) -> None:
        self._mesh.places.update((place.name, place) for place in places)
        self._links.know(places)

    def _begin(self, entry: int) -> None:
        planned = self._scenario.timeline[entry]
        name = f"{planned.title()} at {planned.at_s:g}s"
        self._active[entry] = planned.verb.begin(cast("SimulatedMesh", self._mesh), name)

    def _end(self, entry: int) -> None:
        active = self._active.pop(entry, None)
        if active is not None:
            active.end()
            self._note(entry, active)

    def _note(self, entry: int, active: Active) -> None:
        if active.bit():
            self._bit[entry] = None

    async def report(self) -> None:
        """Tell what was seen, now and then; note when we were kept from it."""
        while True:
            due = trio.current_time() + REPORT_S
            await trio.sleep_until(due)
            if trio.current_time() > due + _LATE_S:
                self._late += 1
            await self.report_now()

    async def report_now(self, *, look: int = 0) -> None:
        """Tell what was seen, if it is anything new. The answer to a look is told in any case, with how everything stands."""
        for entry, active in self._active.items():
            self._note(entry, active)
        seen = self._role.take_report(looking=look > 0)
        report = msgspec.structs.replace(
            seen, bit=tuple(self._bit), events=self._events.take(), late=self._late, look=look
        )
        if report != self._last:
            # What was counted in this one is not in the next: only standing values are compared.
            self._last = Report(
                begun=report.begun,
                busy=report.busy,
                touched=report.touched,
                bit=report.bit,
                places=report.places,
                late=report.late,
            )
            try:
                await self._channel.send(report)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
