"""Members: who belongs to the meshes, decided from what sidecars say on their streams.

Owns: the registry and its leases. Emits: changes to the publisher and to the registry's file, events to the log.
"""

import attrs
import trio

from mesh.config.identities import Identity, Unfit
from mesh.control.admission import Admitted, admit
from mesh.control.issuing import Issuer
from mesh.control.proxy_stream import ProxyStream
from mesh.control.publisher import Publisher, meshes_of
from mesh.control.registry import LiveProxy, Registry
from mesh.control.registry_file import RegistryFile
from mesh.discovery.messages import HealthReport, Hello, Refused, Welcome
from mesh.discovery.wake_up import WakeUp
from mesh.identity.certificate import decode_chain
from mesh.identity.tokens import DataplaneClaims, TokenVerifier
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId
from mesh.resources.resource import WORKLOAD
from mesh.runtime.environment import Environment


@attrs.define(eq=False, kw_only=True)
class Members:
    """Implements `Membership` for the streams of one control plane."""

    env: Environment
    registry: Registry
    file: RegistryFile
    publisher: Publisher
    issuer: Issuer
    verifier: TokenVerifier
    zone: str
    heartbeat_s: float
    _claims_by_session: dict[str, DataplaneClaims] = attrs.field(factory=dict, init=False)
    _leases_changed: WakeUp = attrs.field(factory=WakeUp, init=False)

    def admit(self, hello: Hello, stream: ProxyStream) -> Welcome:
        """See Membership."""
        admitted = admit(
            hello,
            verifier=self.verifier,
            meshes=meshes_of(self.publisher.resources),
            zone=self.zone,
            now=self.env.wall_clock(),
        )
        stream.resume(admitted.proxy, hello.version, hello.digests)
        stream.certificate_expires = float(hello.certificate_expires) or None
        self._join(admitted, hello, stream)
        return Welcome(session=stream.session, heartbeat_s=self.heartbeat_s, lease_s=self.registry.leases.silence_s)

    def _join(self, admitted: Admitted, hello: Hello, stream: ProxyStream) -> None:
        proxy, dataplane = admitted.proxy, admitted.dataplane
        before = self.registry.find(proxy)
        replaced = self.registry.join(
            proxy, dataplane, dict(hello.inbounds), session=stream.session, now=trio.current_time()
        )
        if replaced:
            self.publisher.streams[proxy].dismiss(
                Refused(kind="replaced", reason=f"another connection of {proxy} took over", retryable=True)
            )
        self._claims_by_session[stream.session] = admitted.claims
        self.publisher.attach(proxy, stream)
        self._note_change(proxy.mesh)
        self.env.log.info(
            "proxy.joined",
            mesh=proxy.mesh,
            proxy=proxy.name,
            session=stream.session,
            held_version=hello.version,
            known=before is not None,
        )
        for inbound, ready in sorted(hello.inbounds.items()):
            if (before.is_ready(inbound) if before else True) is not ready:
                self._log_health(stream, inbound, ready)

    def heard(self, stream: ProxyStream) -> None:
        """See Membership."""
        self.registry.heard(stream.session, trio.current_time())

    def report_health(self, stream: ProxyStream, report: HealthReport) -> None:
        """See Membership."""
        changed = self.registry.report_health(stream.session, report.inbounds)
        for inbound in changed:
            self._log_health(stream, inbound, report.inbounds.get(inbound, True))
        if changed:
            self._note_change(stream.proxy.mesh)

    async def issue(self, stream: ProxyStream, csr_pem: str) -> str:
        """See Membership."""
        live = self.registry.of_session(stream.session)
        if live is None:
            raise IdentityError("the connection was replaced by a newer one")
        identity = self._identity(live, self._claims_by_session[stream.session])
        spiffe_id = SpiffeId.parse(identity.spiffe_id)
        await self.issuer.ensure(spiffe_id.trust_domain)
        chain_pem = self.issuer.sign(csr_pem, spiffe_id, identity.certificate_lifetime_s)
        stream.certificate_expires = decode_chain(chain_pem)[0].not_valid_after_utc.timestamp()
        self.env.log.info(
            "certificate.issued",
            mesh=live.proxy.mesh,
            proxy=live.proxy.name,
            spiffe_id=identity.spiffe_id,
            expires=round(stream.certificate_expires),
        )
        return chain_pem

    def leave(self, stream: ProxyStream, reason: str) -> None:
        """See Membership."""
        self._claims_by_session.pop(stream.session, None)
        self.publisher.detach(stream.proxy, stream)
        self.registry.disconnect(stream.session, trio.current_time())
        self._leases_changed.set()
        self.env.log.info(
            "proxy.disconnected",
            mesh=stream.proxy.mesh,
            proxy=stream.proxy.name,
            session=stream.session,
            reason=reason,
        )

    async def run(self) -> None:
        """End leases that have run out, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self.registry.next_expiry()):
                await self._leases_changed.wait()
            expired = self.registry.expire(trio.current_time())
            for live in expired.left:
                self.env.log.info("proxy.left", mesh=live.proxy.mesh, proxy=live.proxy.name)
            for live in expired.lost:
                self.env.log.warning("proxy.lost", mesh=live.proxy.mesh, proxy=live.proxy.name, session=live.session)
                self._dismiss_silent(live)
            for live in (*expired.left, *expired.lost):
                self._note_change(live.proxy.mesh)

    def _dismiss_silent(self, live: LiveProxy) -> None:
        """End the stream as well: a proxy that speaks again right now has to join again."""
        stream = self.publisher.streams.get(live.proxy)
        if stream is not None and stream.session == live.session:
            stream.dismiss(Refused(kind="silent", reason="nothing was heard for too long", retryable=True))

    def _identity(self, live: LiveProxy, claims: DataplaneClaims) -> Identity:
        """Return whom the proxy may be. Raises: IdentityError."""
        match self.publisher.identity_of(live):
            case None:
                raise IdentityError(f"no MeshIdentity selects {live.proxy}")
            case Unfit(reason=reason):
                raise IdentityError(reason)
            case identity:
                # The label is the sidecar's own word; the token is its proof. Source: Kuma, tokens bound to workloads.
                workload = live.dataplane.labels.get(WORKLOAD, "")
                if workload and claims.workload != workload:
                    raise IdentityError(f"the dataplane token is not bound to the workload {workload!r}")
                return identity

    def _note_change(self, mesh: str) -> None:
        self.publisher.mesh_changed(mesh)
        self.file.changed.set()
        self._leases_changed.set()

    def _log_health(self, stream: ProxyStream, inbound: str, ready: bool) -> None:
        self.env.log.info(
            "endpoint.health_changed",
            mesh=stream.proxy.mesh,
            proxy=stream.proxy.name,
            inbound=inbound,
            ready=ready,
        )
