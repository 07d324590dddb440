"""The control planes of a simulated mesh: one with a database of its own, or several that share one.

Owns: their hosts, the resources that their operator keeps in files, backups of their disks. Accepts: other resources, power
cuts and restarts (of the hosts), a backup brought back. What they answer to sidecars is production's code alone.
"""

from collections.abc import Callable, Iterable, Mapping

import attrs
import trio

from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.issuing import IssuerSettings
from mesh.control.proxy_stream import StreamLimits
from mesh.control.status import ProxyStatus
from mesh.control.store.sealing import KEY_BYTES, Sealer, load_sealer
from mesh.control.store.store import Store
from mesh.control.store.values import Conflict
from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.certificate import KeyType
from mesh.model.errors import ConfigError, IdentityError, StoreError
from mesh.model.names import Address
from mesh.resources.resource import Resource
from sim.disk_changes import Write
from sim.host import Host
from sim.platter import Platter
from sim.push_delays import PushDelays
from sim.scenario.names import CONTROL_PLANE, CONTROL_PLANE_STORE, control_plane_hosts
from sim.scenario.scenario import Scenario
from sim.shared_database import PORT as STORE_PORT
from sim.shared_database import DatabaseServer, Jobs, SharedDatabase
from sim.signing import Signing
from sim.signing_key import make_simulated_signing_key
from sim.world import World

PORT = 5678
# Ed25519: signatures of one length, so that sizes, and with them the event hash, are the same in every run.
KEY_TYPE = KeyType.ED25519
RESTART_S = 1.0  # How long a supervisor waits before it starts a control plane again that could not start.
_SHARED_INSIGHTS_S = 1.0  # Source: OBSERVED_S of mesh.cli.control_plane.


@attrs.frozen(kw_only=True)
class Backup:
    """What the disks of the control planes held at one moment, with the operator's files of that moment."""

    files_by_host: Mapping[str, Mapping[str, bytes]]
    resources: tuple[Resource, ...]


class ControlPlanes:
    """See the module's text."""

    def __init__(self, scenario: Scenario, world: World, began: trio.Event) -> None:
        self.world = world
        self._began = began  # the moment from which times of the scenario count
        moments = (entry.verb.backup_s(entry.at_s) for entry in scenario.timeline)
        self._backup_moments = sorted({moment for moment in moments if moment is not None})
        self._keeping_backups = False
        self._backups: list[tuple[float, Backup]] = []
        self.resources: tuple[Resource, ...] = scenario.resources
        self.by_host: dict[str, ControlPlane] = {}  # those that are ready, of the hosts' present or last lives
        self.prepared = trio.Event()  # the first start of the first one is behind us
        self.push_delays = PushDelays(scenario.control_plane.push_delay)
        self.signing = Signing()
        self.refusals: list[str] = []  # why resources were refused, in order
        self._model = model = scenario.control_plane
        self._ca_pem = ""
        self._jobs = Jobs()
        zones = (model.zone, *model.other_zones)
        self.hosts: list[Host] = []
        self.store_host: Host | None = None  # where several share a store
        for number, name in enumerate(control_plane_hosts(model.replicas)):
            if name == CONTROL_PLANE_STORE:
                self.store_host = world.add_host(name, zone=model.zone, boot=self._boot_store)
            else:
                self.hosts.append(world.add_host(name, zone=zones[number % len(zones)], boot=self._boot))
        self._accepted = self.resources

    # Who is there.

    @property
    def first(self) -> ControlPlane | None:
        """The control plane to talk to: the first that lives, else the last that was known."""
        return self.ready or self.by_host.get(CONTROL_PLANE)

    @property
    def ready(self) -> ControlPlane | None:
        """The first control plane that lives."""
        return next((plane for _, plane in self._alive()), None)

    def _alive(self) -> list[tuple[Host, ControlPlane]]:
        return [(host, self.by_host[host.name]) for host in self.hosts if host.alive and host.name in self.by_host]

    def all_hosts(self) -> list[Host]:
        """Return the hosts of the control planes, and of their store."""
        return [*self.hosts, *([] if self.store_host is None else [self.store_host])]

    def named(self, name: str) -> list[Host]:
        """Return the host of this name among them and their store; all control planes for an empty one."""
        return [host for host in self.all_hosts() if host.name == name] if name else list(self.hosts)

    @property
    def store_platter(self) -> Platter:
        """The disk that holds what they must not lose."""
        return (self.store_host or self.hosts[0]).platter

    def revisions(self) -> dict[str, int]:
        """Return up to where each control plane that lives has read the resources."""
        return {host.name: plane.catalogue.revision for host, plane in self._alive()}

    def endpoints(self) -> tuple[ControlPlaneEndpoint, ...]:
        """Return where sidecars find control planes."""
        return tuple(
            ControlPlaneEndpoint(address=Address(host.address, PORT), tls=control_plane_tls(self._ca_pem, host.address))
            for host in self.hosts
        )

    # How it stands.

    def status(self) -> dict[str, ProxyStatus]:
        """Return what is known of each proxy, from whom it is connected to where that is known; nothing while all are down."""
        found: dict[str, ProxyStatus] = {}
        for _, plane in self._alive():
            for status in plane.status():
                own = status.connected and status.instance == plane.instance
                if own or status.proxy.name not in found:
                    found[status.proxy.name] = status
        return found

    def is_elsewhere(self, proxy: str, host: str) -> bool:
        """Is a proxy connected to another control plane than the one on `host`? That one may be unable to say so."""
        return any(
            status.proxy.name == proxy and status.connected and status.instance == plane.instance
            for other, plane in self._alive()
            if other.name != host
            for status in plane.status()
        )

    def lagging(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the named proxies that do not run what they should, sorted.

        Of several control planes the one that has read most knows what that is: what an old state asks for is not enough.
        """
        status = self.status()
        newest = 0 if len(self.hosts) == 1 else max((p.catalogue.revision for _, p in self._alive()), default=0)
        return tuple(
            sorted(
                name
                for name in names
                if name not in status or not status[name].converged or status[name].revision < newest
            )
        )

    def silences(self) -> dict[str, float]:
        """Return for how many seconds the control plane of each proxy has been cut off from the store; 0: it is not."""
        silence_by_instance = {plane.instance: plane.store_silence_s() for _, plane in self._alive()}
        return {name: silence_by_instance.get(status.instance, 0.0) for name, status in self.status().items()}

    # What operators do.

    def replace_resources(self, resources: tuple[Resource, ...]) -> None:
        """Make other resources the truth; control planes that are down read them when they are back."""
        self.resources = resources
        alive = self._alive()
        if alive:
            host, plane = alive[0]
            host.spawn("apply", self._apply, plane)

    async def _apply(self, plane: ControlPlane) -> None:
        """Try until it is done, or refused: then what was accepted last is the truth again."""
        while True:
            # Those of this moment: of two changes that come together, the later one is the truth in whatever order tasks run.
            resources = self.resources
            try:
                await plane.replace_resources(resources)
            except (StoreError, Conflict):
                await trio.sleep(RESTART_S)
                continue
            except ConfigError as error:
                self.refusals.append(str(error))
                self.world.log.record("operator.refused", CONTROL_PLANE, reason=str(error))
                if self.resources is resources:
                    self.resources = self._accepted
                return
            self._accepted = resources
            return

    async def _keep_backups(self) -> None:
        """Copy what the disks hold at the moments for which the timeline wants that."""
        await self._began.wait()
        origin_s = trio.current_time()
        for moment in self._backup_moments:
            await trio.sleep_until(origin_s + moment)
            files = {host.name: dict(host.platter.files) for host in self.all_hosts()}
            self._backups.append((moment, Backup(files_by_host=files, resources=self.resources)))

    def backup_of(self, moment_s: float) -> Backup:
        """Return the backup of a moment for which the timeline wanted one."""
        return min(self._backups, key=lambda taken: abs(taken[0] - moment_s))[1]

    def bring_back(self, backup: Backup) -> None:
        """Put a backup in the place of what the disks hold, and start all hosts again from it."""
        hosts = self.all_hosts()
        for host in hosts:
            host.kill()
            host.platter = Platter(capacity_bytes=host.platter.capacity_bytes, sync_s=host.platter.sync_s)
            for path, data in backup.files_by_host[host.name].items():
                host.platter.change(Write(path, data))
                host.platter.sync(path)
        self.resources = self._accepted = backup.resources
        for host in reversed(hosts):  # The store first.
            host.start()

    # What runs on the hosts.

    async def _boot_store(self, host: Host) -> None:
        await DatabaseServer(host.environment, self._jobs).run()

    async def _boot(self, host: Host) -> None:
        """Start the control plane, again and again until it can, as a supervisor does."""
        self.by_host.pop(host.name, None)
        if self._backup_moments and not self._keeping_backups:
            self._keeping_backups = True
            self.world.start_task(self._keep_backups, name="backups of the control planes")
        while True:
            try:
                await self._start(host)
            except (ConfigError, IdentityError, StoreError, OSError) as error:
                host.environment.log.warning("control_plane.not_started", reason=str(error))
            await trio.sleep(RESTART_S)

    async def _start(self, host: Host) -> None:
        env, resources = host.environment, self.resources
        store = await self._open_store(host)
        try:
            control_plane = ControlPlane(env, self._settings(host, resources), store)
            await control_plane.prepare()
        except BaseException:
            await store.aclose()
            raise
        self.by_host[host.name], self._ca_pem = control_plane, control_plane.secrets.ca_pem
        if self.store_host is None:
            self.prepared.set()
        if self.resources is not resources:
            host.spawn("apply", self._apply, control_plane)
        await control_plane.run(task_status=_Listening(self._on_listening))

    def _on_listening(self) -> None:
        # Of several, all are there before the first sidecar looks for one: else the first would get them all.
        if len(self.by_host) == len(self.hosts):
            self.prepared.set()

    async def _open_store(self, host: Host) -> Store:
        env = host.environment
        if self.store_host is None:
            database, sealer = await env.disk.open_database("mesh.db"), await load_sealer(env, "encryption.key")
        else:
            database = SharedDatabase(env, Address(self.store_host.address, STORE_PORT), self._jobs)
            await database.open()
            sealer = Sealer(bytes(KEY_BYTES))  # The same on all of them, as --encryption-key-file is.
        return await Store.open(database, sealer=sealer, wall_clock=env.wall_clock, log=env.log)

    def _settings(self, host: Host, resources: tuple[Resource, ...]) -> ControlPlaneSettings:
        limit, shared = self._model.configuration_bytes_max, self.store_host is not None
        settings = ControlPlaneSettings(
            address=Address(host.address, PORT),
            resources=resources,
            server_names=(host.address,),
            zone=host.zone,
            key_type=KEY_TYPE,
            new_signing_key=make_simulated_signing_key,
            issuer=IssuerSettings(key_type=KEY_TYPE, check_signer=self.signing.check),
            shared_store=shared,
            limits=StreamLimits(configuration_bytes_max=limit) if limit else StreamLimits(),
            hold_push=self.push_delays,
        )
        return attrs.evolve(settings, insight_interval_s=_SHARED_INSIGHTS_S) if shared else settings


@attrs.frozen
class _Listening:
    """Tells that a control plane listens; stands in for a nursery's `trio.TaskStatus`."""

    then: Callable[[], None]

    def started(self, value: Address | None = None) -> None:
        self.then()
