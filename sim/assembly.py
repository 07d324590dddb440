"""The mesh of a scenario as hosts of a simulated world: a control plane, one host per instance, one per place of users.

Owns: which hosts there are and what runs on them. Accepts: start and stop of instances, slowness, other resources.
Emits: evidence, through the sinks that it hands to sidecars, services and users. When what happens is `sim.runner`'s.
"""

from collections.abc import Iterable
from pathlib import PurePath

import attrs
import trio

from mesh.control.control_plane import ControlPlane
from mesh.control.status import ProxyStatus
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.tokens import TokenVerifier, issue_dataplane_token
from mesh.proxy.local_probe import probes_of
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from sim.application import Application
from sim.checks.evidence import Evidence
from sim.checks.inspection import Inspection
from sim.checks.record_tally import RecordTally
from sim.checks.views import views_of
from sim.control_planes import KEY_TYPE, ControlPlanes
from sim.host import Host
from sim.scenario.scenario import Scenario
from sim.scenario.topology import Service
from sim.signing_key import simulated_signing_key
from sim.workload.condition import Condition
from sim.workload.deployment import (
    Edge,
    Instance,
    dataplane_of,
    edges_of,
    instances_of,
    outsiders_of,
    service_settings,
    users_settings,
)
from sim.workload.service import ServiceInstance, make_service
from sim.workload.users import Users
from sim.world import World

_TOKEN_LIFETIME_S = 365 * 86400.0


@attrs.define(eq=False, kw_only=True)
class Member:
    """One instance or edge: its host, and the actors of the host's current incarnation."""

    what: Instance | Edge
    host: Host
    sidecar: Sidecar | None = None
    application: Application | None = None
    users: Users | None = None
    leaving: bool = False
    token: str = attrs.field(default="", repr=False)  # with which its sidecar joins, in all lives of the host
    token_id: str = ""
    revoked: bool = False  # its token

    new: bool = True  # its application was never started
    starts_after_s: float = 0.0  # how long a program takes to start, on a host that is there

    @property
    def name(self) -> str:
        return self.what.name

    @property
    def service(self) -> ServiceInstance | None:
        """The application that runs; None where none does, or has crashed."""
        return None if self.application is None else self.application.service


class SimulatedMesh:
    """See the module's text."""

    def __init__(self, scenario: Scenario, world: World, evidence: Evidence) -> None:
        self.scenario = scenario
        self.world = world
        self.evidence = evidence
        self.inspection = Inspection((), take_views=lambda: views_of(self))
        self.members: dict[str, Member] = {}  # within the mesh
        self.outsiders: dict[str, Member] = {}  # instances of external services: without a sidecar
        self.workload_by_host: dict[str, str] = {}  # of all there ever were
        self._conditions: dict[str, Condition] = {}
        self.origin_s = 0.0  # when the scenario began, in seconds of the world
        self.loading = trio.Event()  # users begin
        self._numbers: dict[str, int] = {}
        self.control_planes = ControlPlanes(scenario, world, self.loading)
        for instance in instances_of(scenario):
            self._add(instance)
        for edge in edges_of(scenario):
            self._add(edge)
        for outsider in outsiders_of(scenario):
            self._add(outsider)

    # Who is there.

    def _add(self, what: Instance | Edge) -> Member:
        host = self.world.add_host(what.name, zone=what.zone, boot=self._boot_member)
        member = Member(what=what, host=host)
        external = what.service.external if isinstance(what, Instance) else None
        (self.members if external is None else self.outsiders)[what.name] = member
        self.workload_by_host[what.name] = what.workload
        if isinstance(what, Instance):
            self._numbers[what.workload] = self._numbers.get(what.workload, 0) + 1
            self._publish_name(what.service)
        return member

    def _publish_name(self, service: Service) -> None:
        """Let the name of an external service stand for the instances that there are."""
        if service.external is not None:
            addresses = [member.host.address for member in self.instances(service.name)]
            self.world.network.set_name(service.external.hostname, addresses, ttl_s=service.external.ttl_s)

    def member(self, name: str) -> Member | None:
        """Return an instance or edge, within the mesh or outside."""
        return self.members.get(name) or self.outsiders.get(name)

    @property
    def control_plane(self) -> ControlPlane | None:
        """The control plane to ask: the first that lives, or the last that did."""
        return self.control_planes.first

    @property
    def control_plane_host(self) -> Host:
        """The host of the first control plane."""
        return self.control_planes.hosts[0]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What operators want now."""
        return self.control_planes.resources

    def instances(self, service: str, zone: str = "") -> list[Member]:
        """Return the instances of a service (or the one of that name) in a zone, in the order of their start."""
        return [
            member
            for member in (*self.members.values(), *self.outsiders.values())
            if isinstance(member.what, Instance)
            and service in (member.what.workload, member.name)
            and zone in ("", member.what.zone)
            and not member.leaving
        ]

    def start_instance(self, service: str, zone: str) -> Member:
        """Start one more instance; its number follows that of the last one."""
        number = self._numbers[service] + 1
        return self._add(Instance(name=f"{service}-{number}", zone=zone, service=self.scenario.service(service)))

    async def stop_instance(self, member: Member) -> None:
        """Take an instance away as an orderly deployment does: drain its sidecar, then stop its host."""
        member.leaving = True
        if isinstance(member.what, Instance):
            self._publish_name(member.what.service)
        if member.host.alive and member.sidecar is not None:
            await member.sidecar.drain()
        await member.host.stop()
        self.members.pop(member.name, None)
        self.outsiders.pop(member.name, None)

    def hosts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return zones and hosts: the name of a service stands for its instances."""
        found: list[str] = []
        for name in names:
            instances = [member.name for member in self.instances(name)] if name not in self.scenario.zones else []
            found += instances or [name]
        return tuple(found)

    def condition_of(self, name: str) -> Condition:
        """Return what is wrong with an instance; it outlives its restarts."""
        condition = self._conditions.get(name)
        if condition is None:
            condition = self._conditions[name] = Condition()
        return condition

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Make other resources the truth; a control plane that is down reads them when it is back."""
        self.control_planes.replace_resources(resources)

    # How it stands.

    def status(self) -> dict[str, ProxyStatus]:
        """Return what the control planes know of each proxy; nothing while they are down."""
        return self.control_planes.status()

    def lagging(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the named proxies that do not run what they should, sorted."""
        return self.control_planes.lagging(names)

    def busy(self) -> bool:
        """Is any user or any instance still at work?"""
        for member in (*self.members.values(), *self.outsiders.values()):
            if member.users is not None and member.users.active:
                return True
            if member.host.alive and member.service is not None and member.service.places.busy:
                return True
        return False

    # What runs on the hosts.

    async def _boot_member(self, host: Host) -> None:
        member = self.member(host.name)
        assert member is not None
        await self.control_planes.prepared.wait()
        env, what = host.environment, member.what
        if isinstance(what, Instance):
            if member.starts_after_s:
                await trio.sleep(member.starts_after_s)
            member.application = Application(host, lambda: self._make_service(member, what))
            member.application.start()
            if what.service.external is not None:
                return
        member.sidecar = Sidecar(env, self._sidecar_settings(host, what))
        host.spawn("sidecar", member.sidecar.run)
        if isinstance(what, Edge):
            await self.loading.wait()
            users = users_settings(self.scenario, what, until_s=self.evidence.ended_s)
            member.users = Users(env, users, self.evidence.users, origin_s=self.origin_s)
            await member.users.run()

    def _make_service(self, member: Member, what: Instance) -> ServiceInstance:
        # Those that a scenario begins with have run for a long time; what starts later does not know anything yet.
        full, member.new = member.new and not self.loading.is_set(), False
        settings = service_settings(self.scenario, what, caches_full=full)
        env = member.host.environment
        return make_service(env, settings, self.evidence.services, self.condition_of(member.name))

    def _sidecar_settings(self, host: Host, what: Instance | Edge) -> SidecarSettings:
        document = dataplane_of(self.scenario, what, address=host.address)
        here, *others = self.control_planes.endpoints()
        client = ControlPlaneClientSettings(
            address=here.address,
            tls=here.tls,
            others=tuple(others),
            token=self._token(self.members[host.name]),
            dataplane=document,
            state_folder=str(PurePath("sidecar")),
            key_type=KEY_TYPE,
        )
        dataplane = load_resource(document, file="scenario").spec_as(Dataplane)
        records = RecordTally(
            self.evidence, self.inspection, host=host.name, workload=what.workload, origin_s=lambda: self.origin_s
        )
        return SidecarSettings(
            control_plane=client,
            records=records,
            probes=probes_of(dataplane),
        )

    def _token(self, member: Member) -> str:
        """Return the token that an operator gave the sidecar: the same after each restart of its host."""
        if not member.token:
            member.token = issue_dataplane_token(
                simulated_signing_key(1),
                mesh=self.scenario.mesh,
                name=member.name,
                workload=member.what.workload,
                lifetime_s=_TOKEN_LIFETIME_S,
                now=member.host.wall_clock(),
                random=member.host.environment.randomness.stream("dataplane-token"),
            )
            verifier = TokenVerifier({"1": simulated_signing_key(1).public_key})
            member.token_id = verifier.verify_dataplane(member.token, now=member.host.wall_clock()).token_id
        return member.token
