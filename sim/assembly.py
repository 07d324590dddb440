"""The mesh of a scenario as hosts of a simulated world: a control plane, one host per instance, one per place of users.

Owns: which hosts there are and what runs on them. Accepts: start and stop of instances, slowness, other resources.
Emits: evidence, through the sinks that it hands to sidecars, services and users. When what happens is `sim.runner`'s.
"""

from collections.abc import Callable, Iterable
from pathlib import PurePath

import attrs
import trio

from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.status import ProxyStatus
from mesh.control.store.sealing import load_sealer
from mesh.control.store.store import Store
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.certificate import KeyType
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.names import Address
from mesh.proxy.local_probe import probes_of
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from sim.checks.evidence import Evidence
from sim.checks.inspection import Inspection
from sim.checks.record_tally import RecordTally
from sim.host import Host
from sim.scenario.distributions import Constant
from sim.scenario.scenario import Scenario
from sim.scenario.topology import Failure
from sim.signing_key import make_simulated_signing_key, simulated_signing_key
from sim.workload.deployment import (
    Edge,
    Instance,
    dataplane_of,
    edges_of,
    instances_of,
    service_settings,
    users_settings,
)
from sim.workload.service import ServiceInstance, make_service
from sim.workload.users import Users
from sim.world import World

CONTROL_PLANE = "control-plane"
CONTROL_PLANE_PORT = 5678
# Ed25519: signatures of one length, so that sizes, and with them the event hash, are the same in every run.
KEY_TYPE = KeyType.ED25519
_TOKEN_LIFETIME_S = 365 * 86400.0


@attrs.define(eq=False, kw_only=True)
class Member:
    """One instance or edge: its host, and the actors of the host's current incarnation."""

    what: Instance | Edge
    host: Host
    sidecar: Sidecar | None = None
    service: ServiceInstance | None = None
    users: Users | None = None
    leaving: bool = False

    @property
    def name(self) -> str:
        return self.what.name


class SimulatedMesh:
    """See the module's text."""

    def __init__(self, scenario: Scenario, world: World, evidence: Evidence) -> None:
        self.scenario = scenario
        self.world = world
        self.evidence = evidence
        self.inspection = Inspection(())
        self.resources: tuple[Resource, ...] = scenario.resources
        self.members: dict[str, Member] = {}
        self.control_plane: ControlPlane | None = None
        self.slow_by_instance: dict[str, float] = {}
        self.failures_by_instance: dict[str, tuple[Failure, ...]] = {}
        self.origin_s = 0.0  # when the scenario began, in seconds of the world
        self.loading = trio.Event()  # users begin
        self._ca_pem = ""
        self._prepared = trio.Event()  # the control plane's first start is behind it
        self._numbers: dict[str, int] = {}
        zone = scenario.control_plane.zone
        self.control_plane_host = world.add_host(CONTROL_PLANE, zone=zone, boot=self._boot_control_plane)
        for instance in instances_of(scenario):
            self._add(instance)
        for edge in edges_of(scenario):
            self._add(edge)

    # Who is there.

    def _add(self, what: Instance | Edge) -> Member:
        host = self.world.add_host(what.name, zone=what.zone, boot=self._boot_member)
        member = self.members[what.name] = Member(what=what, host=host)
        if isinstance(what, Instance):
            self._numbers[what.workload] = self._numbers.get(what.workload, 0) + 1
        return member

    def instances(self, service: str, zone: str = "") -> list[Member]:
        """Return the instances of a service (or the one of that name) in a zone, in the order of their start."""
        return [
            member
            for member in self.members.values()
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
        if member.host.alive and member.sidecar is not None:
            await member.sidecar.drain()
        await member.host.stop()
        del self.members[member.name]

    def hosts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return zones and hosts: the name of a service stands for its instances."""
        found: list[str] = []
        for name in names:
            instances = [member.name for member in self.instances(name)] if name not in self.scenario.zones else []
            found += instances or [name]
        return tuple(found)

    def slow_down(self, name: str, factor: float) -> Callable[[], None]:
        """Multiply the work of an instance, now and after a restart; return how to undo it."""
        before = self.slow_by_instance.get(name, 1.0)
        self._set_slow(name, factor)
        return lambda: self._set_slow(name, before)

    def _set_slow(self, name: str, factor: float) -> None:
        self.slow_by_instance[name] = factor
        service = self.members[name].service if name in self.members else None
        if service is not None:
            service.slow_factor = factor

    def let_fail(self, name: str, failures: tuple[Failure, ...]) -> Callable[[], None]:
        """Let an instance answer a share of its requests with errors, now and after a restart; return how to undo it."""
        before = self.failures_by_instance.get(name, ())
        self._set_failing(name, failures)
        return lambda: self._set_failing(name, before)

    def _set_failing(self, name: str, failures: tuple[Failure, ...]) -> None:
        self.failures_by_instance[name] = failures
        service = self.members[name].service if name in self.members else None
        if service is not None:
            service.failures = failures

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Make other resources the truth; a control plane that is down reads them when it is back."""
        self.resources = resources
        if self.control_plane is not None and self.control_plane_host.alive:
            self.control_plane_host.spawn("apply", self._apply_resources, self.control_plane)

    async def _apply_resources(self, control_plane: ControlPlane) -> None:
        # Those of this moment: of two changes that come together, the later one is the truth in whatever order tasks run.
        await control_plane.replace_resources(self.resources)

    # How it stands.

    def status(self) -> dict[str, ProxyStatus]:
        """Return what the control plane knows of each proxy; nothing while it is down."""
        if self.control_plane is None or not self.control_plane_host.alive:
            return {}
        return {status.proxy.name: status for status in self.control_plane.status()}

    def lagging(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the named proxies that do not run what they should, sorted."""
        status = self.status()
        return tuple(sorted(name for name in names if name not in status or not status[name].converged))

    def busy(self) -> bool:
        """Is any user or any instance still at work?"""
        for member in self.members.values():
            if member.users is not None and member.users.active:
                return True
            if member.host.alive and member.service is not None and member.service.places.busy:
                return True
        return False

    # What runs on the hosts.

    async def _boot_control_plane(self, host: Host) -> None:
        env, self.control_plane, resources = host.environment, None, self.resources
        delay = self.scenario.control_plane.push_delay
        settings = ControlPlaneSettings(
            address=Address(host.address, CONTROL_PLANE_PORT),
            resources=resources,
            server_names=(host.address,),
            zone=host.zone,
            key_type=KEY_TYPE,
            new_signing_key=make_simulated_signing_key,
            push_delay_s=None if delay == Constant(0.0) else delay.draw,
        )
        store = await Store.open(
            await env.disk.open_database("mesh.db"),
            sealer=await load_sealer(env, "encryption.key"),
            wall_clock=env.wall_clock,
            log=env.log,
        )
        control_plane = ControlPlane(env, settings, store)
        await control_plane.prepare()
        self.control_plane, self._ca_pem = control_plane, control_plane.secrets.ca_pem
        self._prepared.set()
        if self.resources is not resources:
            host.spawn("apply", self._apply_resources, control_plane)
        await control_plane.run()

    async def _boot_member(self, host: Host) -> None:
        member = self.members[host.name]
        await self._prepared.wait()
        env, what = host.environment, member.what
        if isinstance(what, Instance):
            settings = service_settings(self.scenario, what)
            member.service = service = make_service(env, settings, self.evidence.services)
            service.slow_factor = self.slow_by_instance.get(host.name, 1.0)
            service.failures = self.failures_by_instance.get(host.name, ())
            host.spawn("application", service.run)
        member.sidecar = Sidecar(env, self._sidecar_settings(host, what))
        host.spawn("sidecar", member.sidecar.run)
        if isinstance(what, Edge):
            await self.loading.wait()
            users = users_settings(self.scenario, what, until_s=self.evidence.ended_s)
            member.users = Users(env, users, self.evidence.users, origin_s=self.origin_s)
            await member.users.run()

    def _sidecar_settings(self, host: Host, what: Instance | Edge) -> SidecarSettings:
        document = dataplane_of(self.scenario, what, address=host.address)
        client = ControlPlaneClientSettings(
            address=Address(self.control_plane_host.address, CONTROL_PLANE_PORT),
            tls=control_plane_tls(self._ca_pem, self.control_plane_host.address),
            token=issue_dataplane_token(
                simulated_signing_key(1),
                mesh=self.scenario.mesh,
                name=host.name,
                workload=what.workload,
                lifetime_s=_TOKEN_LIFETIME_S,
                now=host.wall_clock(),
                random=host.environment.randomness.stream("dataplane-token"),
            ),
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
