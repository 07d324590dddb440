"""The mesh of a scenario as processes: what `sim.assembly.SimulatedMesh` is in simulation, as far as verbs and checks use it.

Owns: which hosts there are and what they are told. Emits: evidence, from what processes report.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, cast

import attrs
import trio

from mesh.resources.resource import Resource
from mesh.runtime.environment import Process
from sim.checks.evidence import Evidence
from sim.checks.inspection import Inspection
from sim.checks.record_tally import RecordTally
from sim.clock import NS_PER_S, SimClock
from sim.event_log import EventLog
from sim.faults.links import links_of
from sim.local.ailments import ToldCondition, Written
from sim.local.control_plane import ControlPlane
from sim.local.graveyard import Graveyard
from sim.local.hosts import Launcher, LocalHost, LocalMember
from sim.local.messages import Behave, Go, Know, Report, ToProcess, Welcome
from sim.local.places import CONTROL_PLANE, CONTROL_PLANE_ADDRESS, Place, address_of, place_of
from sim.local.reporting import add_tally, add_users, record_of
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


@attrs.frozen
class ControlPlaneHosts:
    """The hosts of control planes: one."""

    hosts: tuple[LocalHost, ...]

    def named(self, replica: str) -> list[LocalHost]:
        """Return the host of that name; all without one."""
        return [host for host in self.hosts if replica in ("", host.name)]


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
    ) -> None:
        self.scenario = scenario
        self.evidence = evidence
        self.world = LocalWorld(scenario, nursery)
        self.control_plane: None = None  # there is nothing to look into
        self.inspection = Inspection((), clock=self.world.now)
        self.resources: tuple[Resource, ...] = scenario.resources
        self.members: dict[str, LocalMember] = {}
        self.plane = control_plane
        self.conditions: dict[str, ToldCondition] = {}
        self.ended_at = 0.0  # in seconds of the runner's clock
        self.origin_s = 0.0  # when the scenario began, in seconds of the runner's clock
        self.shift_s = time.monotonic() - trio.current_time()  # from the runner's clock to the machine's
        self.loading = trio.Event()
        self.steering = Steering(sockets.runner, greet=self._greet, on_report=self._take)
        self.graveyard = Graveyard(sockets.graveyard)
        self.begun: dict[int, None] = {}  # entries of the timeline that are active on links
        self._launch = launch
        self._numbers: dict[str, int] = {}
        self._addresses = 0
        self._sinks: dict[str, RecordTally] = {}
        place = Place(name=CONTROL_PLANE, zone=scenario.control_plane.zone, address=CONTROL_PLANE_ADDRESS)
        self.control_plane_host = self._add_host(place, self._launch_control_plane)
        for instance in instances_of(scenario):
            self._add(instance)
        for edge in edges_of(scenario):
            self._add(edge)

    @property
    def control_planes(self) -> ControlPlaneHosts:
        """The control planes, as verbs ask for them."""
        return ControlPlaneHosts((self.control_plane_host,))

    # Who is there.

    def _add_host(self, place: Place, launch: Launcher) -> LocalHost:
        network_host = self.world.network.add_host(place.name, zone=place.zone, ip=place.address)
        host = self.world.hosts[place.name] = LocalHost(self, place, network_host, launch)
        return host

    async def _launch_control_plane(self, host: LocalHost) -> AsyncGenerator[Process, None]:
        yield await self.plane.launch(self.scenario.resources)

    def _add(self, what: Instance | Edge) -> LocalMember:
        place = place_of(what, address_of(self._addresses))
        self._addresses += 1
        member = self.members[what.name] = LocalMember(what=what, host=self._add_host(place, self._launch))
        self._sinks[what.name] = RecordTally(
            self.evidence, self.inspection, host=what.name, workload=what.workload, origin_s=lambda: self.origin_s
        )
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
        changed = tuple(resource for resource in resources if before.get(resource.key) is not resource)
        self.resources = resources
        self.world.start_task(self.plane.apply, changed, name="apply")

    # How it stands.

    def lagging(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the named proxies that do not run what they should, sorted."""
        converged = self.plane.converged if self.control_plane_host.alive else {}
        return tuple(sorted(name for name in names if not converged.get(name)))

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
        return messages

    def _take(self, process: Connected, report: Report) -> None:
        sink = self._sinks[process.name]
        for row in report.records:
            sink.append(record_of(row, shift_s=-self.shift_s))
        if report.journeys or report.visits:
            add_users(self.evidence.users, report, origin=self.origin_s + self.shift_s)
        if process.role == "service":
            condition = self.condition_of(process.name)
            condition.touched += report.touched - process.touched
            process.touched = report.touched
        if report.tally:
            add_tally(self.evidence.services, report.tally, shift_s=-self.shift_s)


def as_simulated(mesh: LocalMesh) -> Any:
    """Return the mesh where code is written for the simulated one: it has what that code uses, by the same names."""
    return mesh
