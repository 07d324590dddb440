"""Sidecar: the proxy beside one instance of a service.

Owns: its listeners, clusters and connections, its certificate. Accepts: configuration from the control plane, applied
whole or not at all. Emits: request records, health of its inbounds. Does not decide policy, and never needs the control
plane to go on with what it has.
"""

from collections.abc import Mapping

import attrs
import trio

from mesh.config.snapshot import Cluster, IdentityPart, InboundListener, Snapshot, TrustPart
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.model.departure import Departure
from mesh.model.errors import ConfigError, IdentityError, Violation
from mesh.model.names import Address
from mesh.model.security import ServerTls, Svid, TlsParameters, TrustBundle
from mesh.proxy.admin import Admin
from mesh.proxy.cluster import ClusterState
from mesh.proxy.health_probes import refuse_unaskable
from mesh.proxy.http_connection import ProxyContext
from mesh.proxy.listener import ProxyListener
from mesh.proxy.local_probe import LocalProbe, ProbeSettings
from mesh.proxy.name_resolution import NameResolver, is_name, locate
from mesh.proxy.planning import ClusterParts, Planned, cluster_parts, listener_plans
from mesh.proxy.upstream_pool import UpstreamSecurity
from mesh.proxy.upstream_security import ClusterSecurity, lies_here
from mesh.runtime.drain import Drain
from mesh.runtime.environment import Environment, ReactorListener, TlsContext
from mesh.runtime.supervisor import RestartPolicy, Supervisor
from mesh.telemetry.request_record import RecordSink

TICK_S = 1.0
REREAD_S = 5.0  # How often certificates that lie on this host are looked at again.
# With pauses of up to 10 s this limit is never reached: whatever goes wrong with configuration, requests go on.
NEVER_GIVE_UP = RestartPolicy(backoff_s_max=10.0, restarts_max=1000)
DRAIN_SETTLE_S = 1.0  # Callers usually hear of each stage of our leaving within half of it, and may come until then.


@attrs.frozen(kw_only=True)
class SidecarSettings:
    """What a sidecar is started with; all else comes from the control plane.

    `drain_s`: how long a drain may take at most; `drain_settle_s`: how long it takes requests at least, which is to be longer
    than twice what the slowest caller takes to hear of its leaving.
    """

    control_plane: ControlPlaneClientSettings
    records: RecordSink
    probes: tuple[ProbeSettings, ...] = ()
    admin: Address | None = None
    drain_s: float = 30.0
    drain_settle_s: float = DRAIN_SETTLE_S


class Sidecar:
    """One proxy. `run` until cancelled; `drain` before that to lose no request."""

    def __init__(self, env: Environment, settings: SidecarSettings) -> None:
        self._env = env
        self._settings = settings
        self.drain_state = Drain()
        self.context = ProxyContext(
            reactor=env.reactor,
            wall_clock=env.wall_clock,
            random=env.randomness.stream("proxy", "requests"),
            records=settings.records,
            drain=self.drain_state,
        )
        self.client = ControlPlaneClient(env, settings.control_plane, self)
        self.clusters: dict[str, ClusterState] = {}
        self.snapshot = Snapshot({})
        self._parts: Mapping[str, ClusterParts] = {}  # of the snapshot, by cluster
        self._planned: Mapping[Address, Planned] = {}
        self._listeners: dict[Address, ProxyListener] = {}
        self._svid: Svid | None = None
        self._security = ClusterSecurity(env)
        self._resolver = NameResolver(env, self._on_resolved)
        self._reread_at = 0.0
        self._server_tls: dict[TlsParameters, tuple[ServerTls, TlsContext]] = {}
        self._probes = [LocalProbe(env, probe, self.client.report_health) for probe in settings.probes]

    @property
    def listeners(self) -> Mapping[Address, ProxyListener]:
        """The listening addresses of the applied configuration."""
        return self._listeners

    async def run(self) -> None:
        """Serve until cancelled."""
        self._env.log.info("sidecar.started")
        pumps = [self._env.reactor.start(probe.run(), name="local-probe") for probe in self._probes]
        self.start_ticking()
        admin = None if self._settings.admin is None else self._listen_admin(self._settings.admin)
        supervisor = Supervisor(
            "sidecar",
            log=self._env.log,
            random=self._env.randomness.stream("supervisor"),
            policy=NEVER_GIVE_UP,
        )
        supervisor.add("control-plane-client", lambda: self.client)
        try:
            await supervisor.run()
        finally:
            if admin is not None:
                admin.close()
            for pump in pumps:
                pump.cancel()
            self._resolver.close()
            for listener in self._listeners.values():
                listener.close()
            for cluster in self.clusters.values():
                cluster.stop_checks()

    def _listen_admin(self, address: Address) -> ReactorListener:
        return self._env.reactor.listen(address, Admin(self).serve)

    async def drain(self, settle_s: float | None = None) -> None:
        """Say that we leave, finish what is under way, stop listening, say good-bye. Bounded by `drain_s`, the last word apart.

        Callers go elsewhere at our first word. Where they cannot, since all instances drain, they come until the second one,
        which says that we close, and then prefer those who do not.

        `settle_s` goes before the settings' `drain_settle_s`: this time there is a reason to leave sooner, or later.
        """
        if settle_s is None:
            settle_s = self._settings.drain_settle_s
        self._env.log.info("sidecar.draining", in_flight=self.drain_state.in_flight, drain_s=self._settings.drain_s)
        deadline = trio.current_time() + self._settings.drain_s
        self.drain_state.begin()
        for departure in (Departure.DRAINING, Departure.CLOSING):
            self.client.depart(departure)
            await trio.sleep(min(settle_s, self._settings.drain_s) / 2)
        finished = await self.drain_state.wait_idle(deadline)
        for listener in self._listeners.values():
            listener.close()
        await self.client.leave()
        self._env.log.info("sidecar.drained", finished=finished, in_flight=self.drain_state.in_flight)

    def use_identity(self, svid: Svid) -> None:
        """Present this certificate from now on; connections that are open keep theirs."""
        self._svid = svid
        self._env.log.info("identity.replaced", spiffe_id=str(svid.spiffe_id), not_after=svid.not_after)
        trust = _trust(self.snapshot)
        self._server_tls = self._secure_listeners(self.snapshot, trust)
        for name, parts in self._parts.items():
            self._update_cluster(name, self._secure(parts, trust))
        self._hand_out_server_tls()

    def apply(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the configuration. Raises: ConfigError, and then everything is as it was."""
        created: dict[str, ClusterState] = {}

        def cluster_of(name: str) -> ClusterState:
            state = self.clusters.get(name) or created.get(name)
            if state is None:
                state = created[name] = self._new_cluster(parts[name].config)
            return state

        parts, trust = cluster_parts(snapshot), _trust(snapshot)
        identity = snapshot.parts.get("identity")
        own_id = identity.spiffe_id if isinstance(identity, IdentityPart) else ""
        planned = listener_plans(snapshot, cluster_of, own_id, self._planned)
        try:
            for name in parts:
                refuse_unaskable(parts[name].config)
            server_tls = self._secure_listeners(snapshot, trust)
            security = {name: self._secure(parts[name], trust) for name in parts}
            opened = self._open_new(planned)
        except (ConfigError, IdentityError) as error:
            self._env.log.error("configuration.refused", reason=str(error))
            raise error if isinstance(error, ConfigError) else ConfigError([Violation(message=str(error))]) from error
        for name in parts:
            cluster_of(name)
        self.clusters.update(created)
        self.snapshot, self._parts, self._server_tls = snapshot, parts, server_tls
        for name in parts:
            self._update_cluster(name, security[name])
        self._update_listeners(planned, opened)
        self._hand_out_server_tls()
        for name in [name for name in self.clusters if name not in parts]:
            self.clusters.pop(name).close()
            self._security.forget(name)
        self._resolver.want(host for name in parts for host in parts[name].hosts if is_name(host))
        self._env.log.info("configuration.applied", listeners=len(planned), clusters=len(parts))

    def _new_cluster(self, config: Cluster) -> ClusterState:
        stream = self._env.randomness.stream
        return ClusterState(
            config,
            reactor=self._env.reactor,
            random=stream("proxy", "cluster", config.name),
            check_random=lambda: stream("proxy", "health-checks", config.name),
            log=self._env.log,
        )

    def _open_new(self, planned: Mapping[Address, Planned]) -> dict[Address, ProxyListener]:
        """Open the addresses that are new; if one cannot be opened, none is. Raises: ConfigError."""
        opened: dict[Address, ProxyListener] = {}
        try:
            for address, entry in planned.items():
                if address not in self._listeners:
                    listener = ProxyListener(entry.plan, context=self.context, log=self._env.log)
                    listener.open()
                    opened[address] = listener
        except ConfigError:
            for listener in opened.values():
                listener.close()
            raise
        return opened

    def _update_listeners(self, planned: Mapping[Address, Planned], opened: Mapping[Address, ProxyListener]) -> None:
        for address in [address for address in self._listeners if address not in planned]:
            self._listeners.pop(address).close()
            self._env.log.info("listener.closed", address=str(address))
        for address, listener in opened.items():
            self._listeners[address] = listener
            self._env.log.info("listener.opened", listener=listener.plan.name, address=str(address))
        for address, entry in planned.items():
            if self._listeners[address].plan is not entry.plan:
                self._listeners[address].replace_plan(entry.plan)
        self._planned = planned

    def _update_cluster(self, name: str, security: UpstreamSecurity) -> None:
        """Bring a cluster up to date with its parts and the addresses of its names."""
        parts = self._parts[name]
        located = locate(parts.endpoints, self._resolver.addresses_by_name)
        self.clusters[name].update(parts.config, located, security)

    def _secure(self, parts: ClusterParts, trust: tuple[TrustBundle, ...]) -> UpstreamSecurity:
        """Raises: IdentityError (an unusable root of our own trust), ConfigError."""
        if parts.origination is not None:
            return self._security.outside(parts.config, parts.origination, parts.hosts)
        return self._security.inside(parts.config, self._svid, trust)

    def _on_resolved(self, host: str) -> None:
        trust = _trust(self.snapshot)
        for name, parts in self._parts.items():
            if host in parts.hosts:
                self._update_cluster(name, self._secure(parts, trust))

    def _reread_host_files(self) -> None:
        """Certificates that lie on this host may have been renewed, or be there at last."""
        trust = _trust(self.snapshot)
        for name, parts in self._parts.items():
            if parts.origination is not None and lies_here(parts.origination):
                self._update_cluster(name, self._secure(parts, trust))

    def _secure_listeners(
        self, snapshot: Snapshot, trust: tuple[TrustBundle, ...]
    ) -> dict[TlsParameters, tuple[ServerTls, TlsContext]]:
        """Return the inbounds' side of TLS by what they speak; nothing without a certificate.

        Raises: IdentityError (an unusable root), ConfigError (no such ciphers here).
        """
        contexts: dict[TlsParameters, tuple[ServerTls, TlsContext]] = {}
        if self._svid is None:
            return contexts
        inbounds = [part for part in snapshot.of_kind("inbound") if isinstance(part, InboundListener)]
        # Without an inbound too: roots that cannot be read are refused now, not when the first inbound comes.
        for spoken in dict.fromkeys(part.tls_parameters for part in inbounds) or (TlsParameters(),):
            wanted = ServerTls(svid=self._svid, trust=trust, parameters=spoken)
            known = self._server_tls.get(spoken)
            if known is None or known[0] != wanted:
                known = (wanted, self._env.tls.server(wanted))
            contexts[spoken] = known
        return contexts

    def _hand_out_server_tls(self) -> None:
        for listener in self._listeners.values():
            _, listener.tls = self._server_tls.get(listener.plan.tls_parameters, (None, None))

    def start_ticking(self) -> None:
        """Begin the periodic work of the clusters: connections that are idle too long, files that are renewed."""
        self._env.reactor.call_at(self._env.reactor.now() + TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._env.reactor.now()
        for cluster in self.clusters.values():
            cluster.tick(now + TICK_S)
        if now >= self._reread_at:
            self._reread_at = now + REREAD_S
            self._reread_host_files()
        self._env.reactor.call_at(now + TICK_S, self._tick)


def _trust(snapshot: Snapshot) -> tuple[TrustBundle, ...]:
    parts = [part for part in snapshot.of_kind("trust") if isinstance(part, TrustPart)]
    return tuple(TrustBundle(trust_domain=part.trust_domain, roots_pem=part.roots_pem) for part in parts)
