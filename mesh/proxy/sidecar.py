"""Sidecar: the proxy beside one instance of a service.

Owns: its listeners, clusters and connections, its certificate. Accepts: configuration from the control plane, applied
whole or not at all. Emits: request records, health of its inbounds. Does not decide policy, and never needs the control
plane to go on with what it has.
"""

from collections.abc import Mapping

import attrs
import trio

from mesh.config.snapshot import Cluster, ClusterEndpoints, IdentityPart, Snapshot, TrustPart
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.model.errors import ConfigError
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, ServerTls, Svid, TrustBundle
from mesh.proxy.admin import Admin
from mesh.proxy.cluster import ClusterState
from mesh.proxy.http_connection import ProxyContext
from mesh.proxy.listener import ProxyListener
from mesh.proxy.local_probe import LocalProbe, ProbeSettings
from mesh.proxy.plan import ListenerPlan
from mesh.proxy.planning import cluster_parts, listener_plans
from mesh.runtime.drain import Drain
from mesh.runtime.environment import Environment, ReactorListener, TlsContext
from mesh.runtime.supervisor import RestartPolicy, Supervisor
from mesh.telemetry.request_record import RecordSink

TICK_S = 1.0
# With pauses of up to 10 s this limit is never reached: whatever goes wrong with configuration, requests go on.
NEVER_GIVE_UP = RestartPolicy(backoff_s_max=10.0, restarts_max=1000)
DRAIN_SETTLE_S = 1.0  # Others hear of our leaving within this time, and until then may still send requests.


@attrs.frozen(kw_only=True)
class SidecarSettings:
    """What a sidecar is started with; all else comes from the control plane."""

    control_plane: ControlPlaneClientSettings
    records: RecordSink
    probes: tuple[ProbeSettings, ...] = ()
    admin: Address | None = None
    drain_s: float = 30.0


class Sidecar:
    """One proxy. `run` until cancelled; `drain` before that to lose no request."""

    def __init__(self, env: Environment, settings: SidecarSettings) -> None:
        self._env = env
        self._settings = settings
        self.drain_state = Drain()
        self.context = ProxyContext(
            reactor=env.reactor,
            random=env.randomness.stream("proxy", "requests"),
            records=settings.records,
            drain=self.drain_state,
        )
        self.client = ControlPlaneClient(env, settings.control_plane, self)
        self.clusters: dict[str, ClusterState] = {}
        self.snapshot = Snapshot({})
        self._listeners: dict[Address, ProxyListener] = {}
        self._svid: Svid | None = None
        self._client_tls: dict[str, tuple[ClientTls, TlsContext]] = {}  # by cluster
        self._server_tls: tuple[ServerTls, TlsContext] | None = None
        self._probes = [LocalProbe(env, probe, self.client.report_health) for probe in settings.probes]

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
            for listener in self._listeners.values():
                listener.close()

    def _listen_admin(self, address: Address) -> ReactorListener:
        return self._env.reactor.listen(address, Admin(self).serve)

    async def drain(self) -> None:
        """Say that we leave, finish what is under way, then stop listening. Bounded by `drain_s`."""
        self._env.log.info("sidecar.draining", in_flight=self.drain_state.in_flight)
        deadline = trio.current_time() + self._settings.drain_s
        self.drain_state.begin()
        for listener in self._listeners.values():
            if listener.plan.handle.inbound:
                self.client.report_health(listener.plan.name, False)
        await trio.sleep(min(DRAIN_SETTLE_S, self._settings.drain_s))
        finished = await self.drain_state.wait_idle(deadline)
        for listener in self._listeners.values():
            listener.close()
        self._env.log.info("sidecar.drained", finished=finished, in_flight=self.drain_state.in_flight)

    def use_identity(self, svid: Svid) -> None:
        """Present this certificate from now on; connections that are open keep theirs."""
        self._svid = svid
        self._env.log.info("identity.replaced", spiffe_id=str(svid.spiffe_id), not_after=svid.not_after)
        self._update_clusters(cluster_parts(self.snapshot), _trust(self.snapshot))
        self._update_server_tls(_trust(self.snapshot))

    def apply(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the configuration. Raises: ConfigError, and then everything is as it was."""
        created: dict[str, ClusterState] = {}

        def cluster_of(name: str) -> ClusterState:
            state = self.clusters.get(name) or created.get(name)
            if state is None:
                state = created[name] = self._new_cluster(parts[name][0])
            return state

        parts, trust = cluster_parts(snapshot), _trust(snapshot)
        identity = snapshot.parts.get("identity")
        own_id = identity.spiffe_id if isinstance(identity, IdentityPart) else ""
        plans = listener_plans(snapshot, cluster_of, own_id)
        opened = self._open_new(plans)
        for name in parts:
            cluster_of(name)
        self.clusters.update(created)
        self.snapshot = snapshot
        self._update_clusters(parts, trust)
        self._update_listeners(plans, opened)
        self._update_server_tls(trust)
        for name in [name for name in self.clusters if name not in parts]:
            self.clusters.pop(name).close()
            self._client_tls.pop(name, None)
        self._env.log.info("configuration.applied", listeners=len(plans), clusters=len(parts))

    def _new_cluster(self, config: Cluster) -> ClusterState:
        random = self._env.randomness.stream("proxy", "cluster", config.name)
        return ClusterState(config, reactor=self._env.reactor, random=random, log=self._env.log)

    def _open_new(self, plans: Mapping[Address, ListenerPlan]) -> dict[Address, ProxyListener]:
        """Open the addresses that are new; if one cannot be opened, none is. Raises: ConfigError."""
        opened: dict[Address, ProxyListener] = {}
        try:
            for address, plan in plans.items():
                if address not in self._listeners:
                    listener = ProxyListener(plan, context=self.context, log=self._env.log)
                    listener.open()
                    opened[address] = listener
        except ConfigError as error:
            self._env.log.error("configuration.refused", reason=str(error))
            for listener in opened.values():
                listener.close()
            raise
        return opened

    def _update_listeners(self, plans: Mapping[Address, ListenerPlan], opened: Mapping[Address, ProxyListener]) -> None:
        for address in [address for address in self._listeners if address not in plans]:
            self._listeners.pop(address).close()
            self._env.log.info("listener.closed", address=str(address))
        for address, listener in opened.items():
            self._listeners[address] = listener
            self._env.log.info("listener.opened", listener=listener.plan.name, address=str(address))
        for address, plan in plans.items():
            self._listeners[address].replace_plan(plan)

    def _update_clusters(
        self, parts: Mapping[str, tuple[Cluster, ClusterEndpoints]], trust: tuple[TrustBundle, ...]
    ) -> None:
        for name, (config, endpoints) in parts.items():
            self.clusters[name].update(config, endpoints, self._client_context(config, trust))

    def _client_context(self, config: Cluster, trust: tuple[TrustBundle, ...]) -> TlsContext | None:
        if config.tls is None or self._svid is None:
            return None
        wanted = ClientTls(
            svid=self._svid,
            trust=trust,
            expected_peers=tuple(SpiffeId.parse(peer) for peer in config.tls.expected_peers),
            sni=config.tls.sni,
        )
        present = self._client_tls.get(config.name)
        if present is not None and present[0] == wanted:
            return present[1]
        context = self._env.tls.client(wanted)
        self._client_tls[config.name] = (wanted, context)
        return context

    def _update_server_tls(self, trust: tuple[TrustBundle, ...]) -> None:
        if self._svid is not None:
            wanted = ServerTls(svid=self._svid, trust=trust)
            if self._server_tls is None or self._server_tls[0] != wanted:
                self._server_tls = (wanted, self._env.tls.server(wanted))
        context = None if self._server_tls is None else self._server_tls[1]
        for listener in self._listeners.values():
            listener.tls = context

    def start_ticking(self) -> None:
        """Begin the periodic work of the clusters: ejections' ends, idle connections."""
        self._env.reactor.call_at(self._env.reactor.now() + TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._env.reactor.now()
        for cluster in self.clusters.values():
            cluster.tick(now)
        self._env.reactor.call_at(now + TICK_S, self._tick)


def _trust(snapshot: Snapshot) -> tuple[TrustBundle, ...]:
    parts = [part for part in snapshot.of_kind("trust") if isinstance(part, TrustPart)]
    return tuple(TrustBundle(trust_domain=part.trust_domain, roots_pem=part.roots_pem) for part in parts)
