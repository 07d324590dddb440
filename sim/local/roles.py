"""What a process of a scenario can be: a sidecar, an application, or the users of one place."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import trio

from mesh.discovery.client import ControlPlaneClientSettings
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.model.names import Address
from mesh.proxy.local_probe import probes_of
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.runtime.environment import Environment
from sim.local.ailments import ObeyingCondition
from sim.local.dataplanes import dataplane_at
from sim.local.messages import Behave, Go, Report
from sim.local.places import CONTROL_PLANE_ADDRESS, CONTROL_PLANE_PORT
from sim.local.reporting import KeptRecords, take_tally, take_users
from sim.local.settings import ProcessSettings
from sim.local.standing import Standings
from sim.scenario.scenario import Scenario
from sim.workload.deployment import Edge, Instance, edges_of, service_settings, users_settings
from sim.workload.observations import ServiceTally, UserLog
from sim.workload.service import make_service
from sim.workload.users import Users

Drain = Callable[[], Awaitable[None]]
_POLL_S = 0.05


class Role(Protocol):
    """One of them."""

    async def start(self, nursery: trio.Nursery) -> Drain:
        """Start the actor; return what to await when the process is to end."""
        ...

    def take_report(self, *, looking: bool) -> Report:
        """Return what was seen since the last time; `looking`: and how everything stands."""
        ...

    def behave(self, how: Behave) -> None:
        """Suffer from this and nothing else; for applications."""
        ...

    def go(self, when: Go) -> None:
        """Begin; for users."""
        ...


class _Quiet:
    """Does nothing about what concerns other roles."""

    def behave(self, how: Behave) -> None:
        """Not ours."""

    def go(self, when: Go) -> None:
        """Not ours."""


class SidecarRole(_Quiet):
    """A sidecar, its records kept for the runner."""

    def __init__(self, settings: ProcessSettings, scenario: Scenario, env: Environment, shift_s: float) -> None:
        self._settings = settings
        self._scenario = scenario
        self._env = env
        self._shift_s = shift_s
        self._records = KeptRecords()
        self._standings: Standings | None = None

    async def start(self, nursery: trio.Nursery) -> Drain:
        place, settings = self._settings.place, self._settings
        document = dataplane_at(self._scenario, what_is(self._scenario, settings), place.address)
        ca_pem = await trio.Path(settings.control_plane_ca).read_text()
        token = await trio.Path(settings.token).read_text()
        client = ControlPlaneClientSettings(
            address=Address(CONTROL_PLANE_ADDRESS, CONTROL_PLANE_PORT),
            tls=control_plane_tls(ca_pem, CONTROL_PLANE_ADDRESS),
            token=token,
            dataplane=document,
            state_folder="sidecar",
        )
        probes = probes_of(load_resource(document, file="scenario").spec_as(Dataplane))
        sidecar = Sidecar(
            self._env,
            SidecarSettings(control_plane=client, records=self._records, probes=probes, drain_s=settings.drain_s),
        )
        nursery.start_soon(sidecar.run)
        env = self._env
        self._standings = Standings(sidecar, now=env.reactor.now, wall_clock=env.wall_clock, shift_s=self._shift_s)
        return sidecar.drain

    def take_report(self, *, looking: bool) -> Report:
        standing = self._standings.take() if looking and self._standings is not None else None
        return Report(records=self._records.take(self._shift_s), standing=standing)


class ServiceRole(_Quiet):
    """An application: the service model."""

    def __init__(self, settings: ProcessSettings, scenario: Scenario, env: Environment, shift_s: float) -> None:
        instance = what_is(scenario, settings)
        assert isinstance(instance, Instance), "edges have no application"
        self._tally = ServiceTally()
        self._shift_s = shift_s
        self._condition = ObeyingCondition()
        self._service = make_service(
            env, service_settings(scenario, instance, settings.place.address), self._tally, self._condition
        )

    async def start(self, nursery: trio.Nursery) -> Drain:
        nursery.start_soon(self._service.run)
        return self._finish

    async def _finish(self) -> None:
        while self._service.places.busy:
            await trio.sleep(_POLL_S)

    def take_report(self, *, looking: bool) -> Report:
        tally = take_tally(self._tally, self._shift_s)
        places = self._service.places
        return Report(
            tally=tally,
            busy=places.busy,
            places=(places.busy, places.working, places.waiting),
            touched=self._condition.touched,
        )

    def behave(self, how: Behave) -> None:
        self._condition.become(how.ailments)


class UsersRole(_Quiet):
    """The users of one place. They begin when they are told."""

    def __init__(self, settings: ProcessSettings, scenario: Scenario, env: Environment, shift_s: float) -> None:
        edge = what_is(scenario, settings)
        assert isinstance(edge, Edge), "users are at edges"
        self._scenario, self._edge, self._env = scenario, edge, env
        self._local = settings.place.address
        self._shift_s = shift_s
        self._log = UserLog()
        self._told = trio.Event()
        self._when = Go(origin=0.0, until_s=0.0)
        self._users: Users | None = None

    async def start(self, nursery: trio.Nursery) -> Drain:
        nursery.start_soon(self._run)
        return trio.lowlevel.checkpoint

    async def _run(self) -> None:
        await self._told.wait()
        settings = users_settings(self._scenario, self._edge, until_s=self._when.until_s, local=self._local)
        self._users = Users(self._env, settings, self._log)
        await trio.sleep_until(self._when.origin - self._shift_s)
        await self._users.run()

    def take_report(self, *, looking: bool) -> Report:
        busy = self._users.active if self._users is not None else 0
        return msgspec.structs.replace(take_users(self._log, self._shift_s), busy=busy)

    def go(self, when: Go) -> None:
        self._when = when
        self._told.set()


_ROLES: dict[str, Callable[[ProcessSettings, Scenario, Environment, float], Role]] = {
    "sidecar": SidecarRole,
    "service": ServiceRole,
    "users": UsersRole,
}


def make_role(settings: ProcessSettings, scenario: Scenario, env: Environment, *, shift_s: float) -> Role:
    """Return the role of a process. `shift_s`: from the reactor's clock to the machine's monotonic one."""
    return _ROLES[settings.role](settings, scenario, env, shift_s)


def what_is(scenario: Scenario, settings: ProcessSettings) -> Instance | Edge:
    """Return the instance or edge of a process; one that the scenario started later has a number of its own."""
    place = settings.place
    if place.service:
        return Instance(name=place.name, zone=place.zone, service=scenario.service(place.service))
    return next(edge for edge in edges_of(scenario) if edge.name == place.name)
