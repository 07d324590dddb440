"""Members: who belongs to the meshes, decided from what sidecars say on their streams.

Owns: the registry and its leases, and what is observed of each proxy. Emits: changes to the publisher and to the store,
events to the log.
"""

from typing import Any

import attrs
import trio

from mesh.config.holding import Holding, holding_of
from mesh.config.identities import Identity, Unfit
from mesh.control.admission import Admission, Admitted
from mesh.control.insights import Answer, Insights
from mesh.control.issuing import Issuer
from mesh.control.proxy_stream import ProxyStream
from mesh.control.publisher import Publisher
from mesh.control.registry import LiveProxy, Registry
from mesh.control.shared_members import SharedMembers
from mesh.discovery.messages import DataplaneRequest, HealthReport, Hello, Refused, Welcome
from mesh.discovery.wake_up import WakeUp
from mesh.identity.certificate import decode_chain
from mesh.identity.token_authority import TokenKind
from mesh.identity.tokens import DataplaneClaims
from mesh.model.departure import Departure
from mesh.model.errors import IdentityError
from mesh.model.names import ProxyId, SpiffeId
from mesh.resources.dataplane import Dataplane
from mesh.resources.resource import WORKLOAD, Resource
from mesh.resources.writing import universal
from mesh.runtime.environment import Environment


@attrs.define(eq=False, kw_only=True)
class Members:
    """Implements `Membership` for the streams of one control plane."""

    env: Environment
    registry: Registry
    insights: Insights
    shared: SharedMembers
    publisher: Publisher
    issuer: Issuer
    admission: Admission
    heartbeat_s: float
    _claims_by_session: dict[str, DataplaneClaims] = attrs.field(factory=dict, init=False)
    _leases_changed: WakeUp = attrs.field(factory=WakeUp, init=False)

    def describe(self, request: DataplaneRequest) -> dict[str, Any]:
        """See Membership."""
        return universal(self.admission.describe(request, now=self.env.wall_clock()))

    def admit(self, hello: Hello, stream: ProxyStream) -> Welcome:
        """See Membership."""
        admitted = self.admission.admit(hello, now=self.env.wall_clock())
        stream.resume(admitted.proxy, hello.version, hello.digests)
        stream.applied_dataplane = admitted.applied
        self._join(admitted, hello, stream)
        return Welcome(session=stream.session, heartbeat_s=self.heartbeat_s, lease_s=self.registry.leases.silence_s)

    def _join(self, admitted: Admitted, hello: Hello, stream: ProxyStream) -> None:
        proxy, dataplane = admitted.proxy, admitted.dataplane
        before = self.registry.find(proxy)
        replaced = self.registry.join(
            proxy,
            dataplane,
            dict(hello.inbounds),
            session=stream.session,
            now=trio.current_time(),
            departure=hello.departure or Departure.STAYING,
            holding=_holding(stream, dataplane),
        )
        if replaced:
            self._dismiss_replaced(proxy)
        self._claims_by_session[stream.session] = admitted.claims
        expires = float(hello.certificate_expires) or None
        self.insights.connected(proxy, stream.session, now=self.env.wall_clock(), certificate_expires=expires)
        self.publisher.attach(proxy, stream)
        self._note_change(proxy, joined=True)
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

    def answered(self, stream: ProxyStream, answer: Answer) -> None:
        """See Membership."""
        self.insights.answered(stream.proxy, stream.session, answer, now=self.env.wall_clock())
        self.shared.observed(stream.proxy)
        live = self.registry.of_session(stream.session)
        if (
            answer == "acked"
            and live is not None
            and self.registry.acknowledged(stream.session, _holding(stream, live.dataplane))
        ):
            self._note_change(stream.proxy)

    def report_health(self, stream: ProxyStream, report: HealthReport) -> None:
        """See Membership."""
        before = self.registry.of_session(stream.session)
        changed = self.registry.report_health(stream.session, report.inbounds, report.departure)
        for inbound in changed:
            self._log_health(stream, inbound, report.inbounds.get(inbound, True))
        departs = before is not None and before.departure is not report.departure
        if departs:
            self.env.log.info(
                "proxy.departing",
                mesh=stream.proxy.mesh,
                proxy=stream.proxy.name,
                departure=report.departure.value,
            )
        if changed or departs:
            self._note_change(stream.proxy)

    def goodbye(self, stream: ProxyStream) -> None:
        """See Membership."""
        live = self.registry.leave(stream.session)
        if live is not None:
            self._note_left(live)

    async def issue(self, stream: ProxyStream, csr_pem: str) -> str:
        """See Membership."""
        live = self.registry.of_session(stream.session)
        if live is None:
            raise IdentityError("the connection was replaced by a newer one")
        identity = self._identity(live, self._claims_by_session[stream.session])
        spiffe_id, mesh = SpiffeId.parse(identity.spiffe_id), live.proxy.mesh
        await self.issuer.ensure(mesh, spiffe_id.trust_domain)
        chain_pem = self.issuer.sign(mesh, csr_pem, spiffe_id, identity.certificate_lifetime_s)
        expires = decode_chain(chain_pem)[0].not_valid_after_utc.timestamp()
        self.insights.certified(live.proxy, now=self.env.wall_clock(), expires=expires)
        self.shared.observed(live.proxy)
        self.env.log.info(
            "certificate.issued",
            mesh=mesh,
            proxy=live.proxy.name,
            spiffe_id=identity.spiffe_id,
            expires=round(expires),
        )
        return chain_pem

    def leave(self, stream: ProxyStream, reason: str) -> None:
        """See Membership."""
        self._claims_by_session.pop(stream.session, None)
        self.publisher.detach(stream.proxy, stream)
        self.insights.disconnected(stream.proxy, stream.session, now=self.env.wall_clock())
        if self.registry.of_session(stream.session) is not None:
            self.registry.disconnect(stream.session, trio.current_time())
            self.shared.observed(stream.proxy)
        self._leases_changed.set()
        self.env.log.info(
            "proxy.disconnected",
            mesh=stream.proxy.mesh,
            proxy=stream.proxy.name,
            session=stream.session,
            reason=reason,
        )

    def taken(self, proxy: ProxyId) -> None:
        """A proxy of ours has joined another control plane: its connection here is the older one."""
        self._dismiss_replaced(proxy)

    def send_away(self, stream: ProxyStream) -> None:
        """End a stream, so that its proxy looks for a control plane that can reach the store."""
        self.registry.send_away(stream.session, trio.current_time())
        self.shared.note(stream.proxy)
        self._leases_changed.set()
        reason = "this control plane cannot reach the store that it shares with others"
        stream.dismiss(Refused(kind="cut-off", reason=reason, retryable=True))

    def changed_elsewhere(self, proxy: ProxyId) -> None:
        """Another control plane's proxy is otherwise than before."""
        self.publisher.mesh_changed(proxy.mesh)
        self._leases_changed.set()

    def dataplane_applied(self, mesh: str, name: str, dataplane: Resource | None) -> None:
        """An operator changed a Dataplane (None: deleted it): a sidecar that joined by its name goes by it at once."""
        proxy = ProxyId(mesh, name)
        stream, live = self.publisher.streams.get(proxy), self.registry.find(proxy)
        if stream is None or live is None or not stream.applied_dataplane:
            return
        if dataplane is None:
            reason = f"the Dataplane {name!r} of mesh {mesh!r} was deleted"
            stream.dismiss(Refused(kind="dataplane", reason=reason, retryable=True))
            return
        zoned = self.admission.with_zone(dataplane)
        self.registry.replace_dataplane(proxy, zoned, _holding(stream, zoned))
        self._note_change(proxy)

    def revoked(self, mesh: str) -> None:
        """Tokens of a mesh were taken back: whoever joined with one has to leave now, not when its connection ends."""
        tokens = self.admission.tokens
        for proxy, stream in self.publisher.streams.items():
            claims = self._claims_by_session.get(stream.session) if proxy.mesh == mesh else None
            if claims is not None and tokens.is_revoked(TokenKind.DATAPLANE, claims.token_id, mesh=mesh):
                stream.dismiss(Refused(kind="token", reason="the dataplane token was revoked", retryable=False))

    async def run(self) -> None:
        """End leases that have run out, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self.registry.next_expiry()):
                await self._leases_changed.wait()
            expired = self.registry.expire(trio.current_time())
            for live in expired.left:
                self._note_left(live)
            for live in expired.lost:
                self.env.log.warning("proxy.lost", mesh=live.proxy.mesh, proxy=live.proxy.name, session=live.session)
                self._dismiss_silent(live)
                self._note_change(live.proxy)

    def _note_left(self, live: LiveProxy) -> None:
        self.env.log.info("proxy.left", mesh=live.proxy.mesh, proxy=live.proxy.name)
        if self.admission.find(live.proxy.mesh, live.proxy.name) is None:
            self.insights.forget(live.proxy)
        self._note_change(live.proxy)

    def _dismiss_replaced(self, proxy: ProxyId) -> None:
        stream = self.publisher.streams.get(proxy)
        if stream is not None:
            reason = f"another connection of {proxy} took over"
            stream.dismiss(Refused(kind="replaced", reason=reason, retryable=True))

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

    def _note_change(self, proxy: ProxyId, *, joined: bool = False) -> None:
        self.publisher.mesh_changed(proxy.mesh)
        self.shared.note(proxy, joined=joined)
        self._leases_changed.set()

    def _log_health(self, stream: ProxyStream, inbound: str, ready: bool) -> None:
        self.env.log.info(
            "endpoint.health_changed",
            mesh=stream.proxy.mesh,
            proxy=stream.proxy.name,
            inbound=inbound,
            ready=ready,
        )


def _holding(stream: ProxyStream, dataplane: Resource) -> Holding:
    return holding_of(dataplane.spec_as(Dataplane), stream.publication.acked_digests)
