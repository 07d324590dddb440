"""The mesh of a scenario as processes: what `sim.assembly.SimulatedMesh` is in simulation, as far as verbs and checks use it.

Owns: which hosts there are and what they are told. Emits: evidence, from what processes report.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from mesh.control.status import ProxyStatus
from mesh.resources.resource import Resource
from mesh.runtime.environment import Process
from mesh.runtime.real import wall_clock
from sim.checks.evidence import Evidence
from sim.checks.inspection import Inspection
from sim.clock import NS_PER_S, SimClock
from sim.event_log import EventLog
from sim.faults.links import links_of
from sim.local.ailments import ToldCondition, Written
from sim.local.control_plane import ControlPlane
from sim.local.graveyard import Graveyard
from sim.local.hearing import Hearing
from sim.local.hosts import Launcher, LocalDisk, LocalHost, LocalMember
from sim.local.messages import Behave, Go, Know, ToProcess, Welcome
from sim.local.places import CONTROL_PLANE, CONTROL_PLANE_ADDRESS, Place, address_of, place_of
from sim.local.sockets import Sockets
from sim.local.steering import Connected, Steering
from sim.network.fabric import SimNetwork
from sim.randomness import KeyedRandomness
from sim.scenario.scenario import Scenario
from sim.workload.deployment import Edge, Instance, edges_of, instances_of


class RunnerClock:
    """The machine's clock as the event log and the map of the network read it."""

    @property
    def now_ns(self) -> int:
        return round(trio.current_time() * NS_PER_S)

    @property
    def now_s(self) -> float:
        return trio.current_time()


class LocalWorld:
    """What verbs and the timeline use of a world: its log, its tasks, its hosts, and a map of its network.

    No byte crosses the map; its rules tell who is cut off from whom.
    """

    def __init__(self, scenario: Scenario, nursery: trio.Nursery) -> None:
        clock = cast(SimClock, RunnerClock())
        self.seed = scenario.seed
        self.log = EventLog(clock)
        self.randomness = KeyedRandomness(scenario.seed)
        self.network = SimNetwork(
            clock=clock, log=self.log, randomness=self.randomness, model=links_of(scenario.network)
        )
        self.hosts: dict[str, LocalHost] = {}
        self._nursery = nursery

    def now(self) -> float:
        """Seconds of the runner's clock."""
        return trio.current_time()

    def start_task(self, function: Callable[..., Awaitable[object]], *arguments: object, name: str) -> None:
        """Run a task of the run's own."""
        self._nursery.start_soon(function, *arguments, name=name)


@attrs.define(eq=False)
class ControlPlaneHosts:
    """The hosts of control planes: one. `refusals`: why changes were refused, in order."""

    plane: ControlPlane
    hosts: tuple[LocalHost, ...] = ()
    refusals: list[str] = attrs.field(factory=list)

    @property
    def store_platter(self) -> object:
        """Stands for the disk with the resources: another one after it was wiped."""
        return self.hosts[0].platter.content

    def named(self, replica: str) -> list[LocalHost]:
        """Return the host of that name; all without one."""
        return [host for host in self.hosts if replica in ("", host.name)]

    def is_elsewhere(self, proxy: str, replica: str) -> bool:
        """Is a proxy at another control plane than that one? There is none."""
        return False

    def revisions(self) -> dict[str, int]:
        """Return the revision of the resources that a control plane shows; nothing while it is down."""
        host = self.hosts[0]
        return {host.name: self.plane.revision} if host.alive and self.plane.status else {}


class LocalMesh:
    """See the module's text."""

    def __init__(
        self,
        scenario: Scenario,
        evidence: Evidence,
        nursery: trio.Nursery,
        *,
        sockets: Sockets,
        control_plane: ControlPlane,
        launch: Launcher,
        folder: Path,
    ) -> None:
        self._folder = folder
        self.scenario = scenario
        self.evidence = evidence
        self.world = LocalWorld(scenario, nursery)
        self.control_plane: None = None  # there is nothing to look into
        self.hearing = Hearing(self)
        self.inspection = Inspection((), take_views=self.hearing.views)
        self.resources: tuple[Resource, ...] = scenario.resources
        self.members: dict[str, LocalMember] = {}
        self.plane = control_plane
        self.conditions: dict[str, ToldCondition] = {}
        self.ended_at = 0.0  # in seconds of the runner's clock
        self.origin_s = 0.0  # when the scenario began, in seconds of the runner's clock
        self.shift_s = time.monotonic() - trio.current_time()  # from the runner's clock to the machine's
        self.loading = trio.Event()
        self.epoch = wall_clock() - trio.current_time()  # the date of the runner's 0
        self.steering = Steering(
            sockets.runner, greet=self._greet, on_report=self.hearing.take, on_end=self.hearing.part
        )
        self.graveyard = Graveyard(sockets.graveyard)
        self._changing = trio.StrictFIFOLock()
        self.begun: dict[int, None] = {}  # entries of the timeline that are active on links
        self._launch = launch
        self._numbers: dict[str, int] = {}
        self._addresses = 0
        self.outsiders: dict[str, LocalMember] = {}  # nothing outside the mesh is started
        self.control_planes = ControlPlaneHosts(control_plane)
        place = Place(name=CONTROL_PLANE, zone=scenario.control_plane.zone, address=CONTROL_PLANE_ADDRESS)
        self.control_plane_host = self._add_host(place, self._launch_control_plane)
        self.control_planes.hosts = (self.control_plane_host,)
        for instance in instances_of(scenario):
            self._add(instance)
        for edge in edges_of(scenario):
            self._add(edge)

    # Who is there.

    def _add_host(self, place: Place, launch: Launcher) -> LocalHost:
        network_host = self.world.network.add_host(place.name, zone=place.zone, ip=place.address)
        disk = LocalDisk(self._folder / place.name)
        host = self.world.hosts[place.name] = LocalHost(self, place, network_host, launch, disk=disk)
        return host

    async def _launch_control_plane(self, host: LocalHost) -> AsyncGenerator[Process, None]:
        yield await self.plane.launch(self.scenario.resources)

    def _add(self, what: Instance | Edge) -> LocalMember:
        place = place_of(what, address_of(self._addresses))
        self._addresses += 1
        member = self.members[what.name] = LocalMember(what=what, host=self._add_host(place, self._launch))
        self.hearing.expect(what)
        if isinstance(what, Instance):
            self._numbers[what.workload] = self._numbers.get(what.workload, 0) + 1
        return member

    @property
    def workload_by_host(self) -> dict[str, str]:
        return {member.name: member.what.workload for member in self.members.values()}

    def instances(self, service: str, zone: str = "") -> list[LocalMember]:
        """Return the instances of a service (or the one of that name) in a zone, in the order of their start."""
        return [
            member
            for member in self.members.values()
            if isinstance(member.what, Instance)
            and service in (member.what.workload, member.name)
            and zone in ("", member.what.zone)
            and not member.leaving
        ]

    def member(self, name: str) -> LocalMember | None:
        """Return an instance or edge."""
        return self.members.get(name)

    def start_instance(self, service: str, zone: str) -> LocalMember:
        """Start one more instance; its number follows that of the last one."""
        number = self._numbers[service] + 1
        member = self._add(Instance(name=f"{service}-{number}", zone=zone, service=self.scenario.service(service)))
        self.steering.tell(Know(places=(member.host.place,)))
        member.host.start()
        return member

    async def stop_instance(self, member: LocalMember) -> None:
        """Take an instance away as an orderly deployment does: drain its sidecar, then stop its application."""
        member.leaving = True
        await member.host.stop()
        self.members.pop(member.name, None)

    def hosts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return zones and hosts: the name of a service stands for its instances."""
        found: list[str] = []
        for name in names:
            instances = [member.name for member in self.instances(name)] if name not in self.scenario.zones else []
            found += instances or [name]
        return tuple(found)

    # How applications behave.

    def condition_of(self, name: str) -> ToldCondition:
        """Return what is wrong with an instance; it outlives its restarts."""
        condition = self.conditions.get(name)
        if condition is None:

            def tell(ailments: Written) -> None:
                self.steering.tell(Behave(ailments=ailments), role="service", name=name)

            condition = self.conditions[name] = ToldCondition(tell)
        return condition

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Make other resources the truth; a control plane that is down gets them when it is back."""
        before = {resource.key: resource for resource in self.resources}
        kept = {resource.key for resource in resources}
        changed = tuple(resource for resource in resources if before.get(resource.key) is not resource)
        gone = tuple(resource for key, resource in before.items() if key not in kept)
        self.resources = resources
        self.world.start_task(self._change, changed, gone, name="apply")

    async def _change(self, changed: tuple[Resource, ...], gone: tuple[Resource, ...]) -> None:
        """Do what an operator does: apply, then delete. What is refused is not in force."""
        async with self._changing:
            refused = await self.plane.apply(changed) if changed else ""
            for resource in () if refused else gone:
                refused = refused or await self.plane.delete(resource)
        if refused:
            self.control_planes.refusals.append(refused)
            self.world.log.record("operator.refused", CONTROL_PLANE, reason=refused)

    # How it stands.

    def lagging(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the named proxies that do not run what they should, sorted."""
        status = self.status()
        return tuple(sorted(name for name in names if name not in status or not status[name].converged))

    def status(self) -> Mapping[str, ProxyStatus]:
        """Return what the control plane knows of each proxy; nothing while it is down."""
        return self.plane.status if self.control_plane_host.alive else {}

    def busy(self) -> bool:
        """Is any user or any instance still at work?"""
        return self.steering.busy()

    def go(self, origin_s: float, *, until_s: float) -> None:
        """Let the users begin at a moment of the runner's clock."""
        self.origin_s = self.evidence.origin_s = origin_s
        self.loading.set()
        self.steering.tell(self._go(until_s), role="users")

    def _go(self, until_s: float) -> Go:
        return Go(origin=self.origin_s + self.shift_s, until_s=until_s)

    async def end(self) -> None:
        """End all processes at once: the run is over, and what they saw has been told."""
        self.ended_at = trio.current_time()
        for host in self.world.hosts.values():
            await host.end()

    # What processes say.

    def _greet(self, process: Connected) -> list[ToProcess]:
        hosts = self.world.hosts.values()
        off = tuple(host.name for host in hosts if not host.alive and host.name != process.name)
        messages: list[ToProcess] = [
            Welcome(places=tuple(host.place for host in hosts), off=off, begun=tuple(self.begun))
        ]
        if process.role == "service":
            messages.append(Behave(ailments=self.condition_of(process.name).written()))
        self.hearing.greet(process)
        return messages


def as_simulated(mesh: LocalMesh) -> Any:
    """Return the mesh where code is written for the simulated one: it has what that code uses, by the same names."""
    return mesh
