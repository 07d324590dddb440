"""Registry: which proxies take part, under which lease, and which of their inbounds are ready.

Pure: `now` is in seconds, and never earlier than the last time.
A proxy joins with its connection's session and stays while it is heard. What the end of its lease means depends on why:
- it said good-bye: it has left;
- its connection ended and did not come back within the grace: it has left too;
- it fell silent, as a host or a network does that fails: it is lost. Lost proxies stay for a while, not ready, so that
  callers who have nobody else still try them (Envoy's panic) and those behind a partition are not forgotten;
- nobody at all is heard: then it is we who are cut off, and everybody is awaited as they were;
- it was another control plane's that fell silent, or one that we sent away: it may be connected there. It is awaited, and
  lost when it does not come. While we are cut off from the other control planes nobody leaves but by a good-bye.
So neither an outage nor a restart of the control plane empties the mesh. Source: Netflix Eureka, self-preservation.

A heartbeat costs the same however many there are: it moves a lease's end, and nothing is sorted or looked through.
"""

import enum
from collections.abc import Callable, Mapping

import attrs

from mesh.config.holding import EVERYTHING, Holding
from mesh.control.lease_queue import LeaseQueue
from mesh.model.departure import Departure
from mesh.model.names import ProxyId
from mesh.resources.dataplane import Dataplane
from mesh.resources.resource import Resource


@attrs.frozen(kw_only=True)
class Leases:
    """How long a proxy stays in each state without a sign of life, in seconds."""

    silence_s: float = 9.0  # three heartbeats
    disconnect_grace_s: float = 2.0
    recovery_s: float = 20.0  # longer than the longest pause of a sidecar between two connects
    lost_s: float = 300.0


class Presence(enum.Enum):
    """How a proxy takes part."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"  # its connection ended a moment ago
    AWAITED = "awaited"  # known from before we were cut off or restarted
    LOST = "lost"  # silent, while others are heard
    OFFLINE = "offline"  # it does not: no sidecar came with its Dataplane, or it left. Nothing in a registry is


@attrs.frozen(kw_only=True)
class LiveProxy:
    """A member of the mesh. `inbounds` is `{inbound name: ready}` as reported; an inbound never named is ready.

    `holding`: what its sidecar has live; an inbound without a listener yet is no endpoint, however ready it is said to be.
    """

    proxy: ProxyId
    dataplane: Resource
    presence: Presence = Presence.CONNECTED
    session: str = ""  # empty unless connected
    lease_until: float
    inbounds: Mapping[str, bool] = attrs.field(factory=dict)
    departure: Departure = Departure.STAYING
    holding: Holding = EVERYTHING
    instance: str = ""  # the other control plane that it is connected to; empty: ours
    may_be_elsewhere: bool = False  # connected to a control plane that we do not hear

    def is_ready(self, inbound: str) -> bool:
        return self.presence is not Presence.LOST and self.inbounds.get(inbound, True)

    def readiness(self) -> Mapping[str, bool]:
        """Return `{inbound name: ready}` as others shall see it."""
        if self.presence is not Presence.LOST:
            return self.inbounds
        return {inbound.name: False for inbound in self.dataplane.spec_as(Dataplane).inbounds}


@attrs.frozen(kw_only=True)
class Expired:
    """What the passing of time brought, each sorted by mesh and name."""

    left: tuple[LiveProxy, ...] = ()
    lost: tuple[LiveProxy, ...] = ()  # as they were before


@attrs.define(eq=False)
class Registry:
    """Owner of the set of live proxies."""

    leases: Leases = Leases()
    _live: dict[ProxyId, LiveProxy] = attrs.field(factory=dict)
    _proxy_by_session: dict[str, ProxyId] = attrs.field(factory=dict)  # who was heard last comes last
    _queue: LeaseQueue = attrs.field(factory=LeaseQueue, init=False)
    _cut_off: bool = attrs.field(default=False, init=False)  # we do not hear whom other control planes hear
    _listeners: list[Callable[[ProxyId], None]] = attrs.field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._live)

    def on_change(self, listener: Callable[[ProxyId], None]) -> None:
        """Tell `listener` from now on who came or left, and whose Dataplane or readiness may be another."""
        self._listeners.append(listener)

    def proxies(self) -> tuple[LiveProxy, ...]:
        """Return all live proxies, sorted by mesh and name."""
        return tuple(sorted(self._live.values(), key=_place))

    def of_mesh(self, mesh: str) -> tuple[LiveProxy, ...]:
        """Return the live proxies of one mesh, sorted by name."""
        return tuple(sorted((live for live in self._live.values() if live.proxy.mesh == mesh), key=_place))

    def find(self, proxy: ProxyId) -> LiveProxy | None:
        return self._live.get(proxy)

    def of_session(self, session: str) -> LiveProxy | None:
        """Return the proxy that this session holds; None after another took over or the lease ran out."""
        proxy = self._proxy_by_session.get(session)
        return None if proxy is None else self._live[proxy]

    def restore(
        self,
        proxy: ProxyId,
        dataplane: Resource,
        inbounds: Mapping[str, bool],
        now: float,
        departure: Departure = Departure.STAYING,
        *,
        certified: bool = True,
        may_be_elsewhere: bool = False,
    ) -> None:
        """Take over a proxy that was alive before the control plane restarted, or another died; it has a while to come back.

        Its inbounds count as open: what is known of them may be older than what it acknowledged last.
        """
        self._forget_session(proxy)
        self._enter(
            LiveProxy(
                proxy=proxy,
                dataplane=dataplane,
                presence=Presence.AWAITED,
                lease_until=now + self.leases.recovery_s,
                inbounds=inbounds,
                departure=departure,
                holding=Holding(certified=certified),
                may_be_elsewhere=may_be_elsewhere,
            )
        )

    def place(self, live: LiveProxy) -> None:
        """Enter a proxy as another control plane knows it; that one keeps its lease. A session of ours ends by it."""
        assert live.instance and not live.session, "ours come by `join`"
        self._forget_session(live.proxy)
        self._enter(live)

    def drop(self, proxy: ProxyId) -> None:
        """Forget a proxy that left another control plane."""
        self._forget_session(proxy)
        self._remove(proxy)

    def replace_dataplane(self, proxy: ProxyId, dataplane: Resource, holding: Holding = EVERYTHING) -> None:
        """Go by another Dataplane of a proxy that stays, and of which its sidecar has this live."""
        self._enter(attrs.evolve(self._live[proxy], dataplane=dataplane, holding=holding))

    def join(
        self,
        proxy: ProxyId,
        dataplane: Resource,
        inbounds: Mapping[str, bool],
        *,
        session: str,
        now: float,
        departure: Departure = Departure.STAYING,
        holding: Holding = EVERYTHING,
    ) -> str:
        """Enter a connected proxy; return the session that it replaces, empty when there is none."""
        if not self._hears_anybody(now):
            self._await_again(now)
        before = self._live.get(proxy)
        replaced = before.session if before is not None else ""
        self._proxy_by_session.pop(replaced, None)
        self._proxy_by_session[session] = proxy
        self._enter(
            LiveProxy(
                proxy=proxy,
                dataplane=dataplane,
                session=session,
                lease_until=now + self.leases.silence_s,
                inbounds=inbounds,
                departure=departure,
                holding=holding,
            )
        )
        return replaced

    def heard(self, session: str, now: float) -> bool:
        """Extend the lease of whoever holds this session; False when nobody does any more."""
        proxy = self._proxy_by_session.pop(session, None)
        if proxy is None:
            return False
        self._proxy_by_session[session] = proxy
        self._extend(self._live[proxy], now + self.leases.silence_s)
        return True

    def report_health(
        self, session: str, inbounds: Mapping[str, bool], departure: Departure = Departure.STAYING
    ) -> tuple[str, ...]:
        """Record the readiness of all inbounds, and whether the proxy stays; return the inbounds that changed, sorted."""
        live = self.of_session(session)
        if live is None:
            return ()
        self._enter(attrs.evolve(live, inbounds=dict(inbounds), departure=departure))
        names = sorted({*inbounds, *live.inbounds})
        return tuple(name for name in names if live.is_ready(name) != inbounds.get(name, True))

    def acknowledged(self, session: str, holding: Holding) -> bool:
        """Record what a sidecar has live; tell whether that is another than before."""
        live = self.of_session(session)
        if live is None or live.holding == holding:
            return False
        self._enter(attrs.evolve(live, holding=holding))
        return True

    def disconnect(self, session: str, now: float) -> None:
        """Note that a connection ended: its proxy has the grace to come back. Nothing when it was replaced."""
        live = self.of_session(session)
        if live is not None:
            self._change(live, Presence.DISCONNECTED, now + self.leases.disconnect_grace_s)

    def send_away(self, session: str, now: float) -> None:
        """End the session of a proxy that shall look for another control plane; it stays as it is, wherever it goes."""
        live = self.of_session(session)
        if live is not None:
            elsewhere = attrs.evolve(live, may_be_elsewhere=True)
            self._change(elsewhere, Presence.AWAITED, now + self.leases.recovery_s)

    def lose_others(self) -> None:
        """From here on we do not hear of what joins other control planes: silence here says little."""
        self._cut_off = True

    def find_others(self, now: float) -> None:
        """We hear of other control planes' proxies again: those that are awaited have their while from here on."""
        self._cut_off = False
        self._await_again(now)

    def leave(self, session: str) -> LiveProxy | None:
        """End the lease of whoever holds this session and said good-bye; return it, None when nobody does any more."""
        live = self.of_session(session)
        if live is not None:
            self._forget_session(live.proxy)
            self._remove(live.proxy)
        return live

    def next_expiry(self) -> float:
        """Return when the first lease runs out, infinity when there is none."""
        return self._queue.first()

    def expire(self, now: float) -> Expired:
        """End the leases that have run out, each as its reason asks for."""
        due = sorted((self._live[proxy] for proxy in self._queue.take_until(now)), key=_place)
        hears_anybody = self._hears_anybody(now)
        left, lost = [], []
        for live in due:
            presence = self._presence_after(live, hears_anybody=hears_anybody)
            if presence is Presence.OFFLINE:
                self._remove(live.proxy)
                left.append(live)
            elif presence is Presence.LOST and live.presence is not Presence.LOST:
                self._change(live, Presence.LOST, now + self.leases.lost_s)
                lost.append(live)
            else:
                self._change(live, presence, now + self.leases.recovery_s)
        return Expired(left=tuple(left), lost=tuple(lost))

    def _presence_after(self, live: LiveProxy, *, hears_anybody: bool) -> Presence:
        """Say what becomes of a proxy whose lease has run out; offline: it leaves."""
        if live.presence is Presence.LOST:
            return Presence.LOST if self._cut_off or not hears_anybody else Presence.OFFLINE
        if not hears_anybody or (self._cut_off and live.presence is Presence.AWAITED):
            return Presence.AWAITED
        if live.presence is Presence.CONNECTED or live.may_be_elsewhere or self._cut_off:
            return Presence.LOST
        return Presence.OFFLINE

    def _change(self, live: LiveProxy, presence: Presence, lease_until: float) -> None:
        """Put a proxy into a state without a connection."""
        self._proxy_by_session.pop(live.session, None)
        self._enter(attrs.evolve(live, presence=presence, session="", lease_until=lease_until))

    def _enter(self, live: LiveProxy) -> None:
        self._live[live.proxy] = live
        self._queue.put(live.proxy, live.lease_until)
        self._tell(live.proxy)

    def _remove(self, proxy: ProxyId) -> None:
        if self._live.pop(proxy, None) is not None:
            self._queue.remove(proxy)
            self._tell(proxy)

    def _extend(self, live: LiveProxy, lease_until: float) -> None:
        """Let a lease end later; nobody else is concerned."""
        # Written out, since `attrs.evolve` takes several times as long, and every heartbeat comes here.
        self._live[live.proxy] = LiveProxy(
            proxy=live.proxy,
            dataplane=live.dataplane,
            presence=live.presence,
            session=live.session,
            lease_until=lease_until,
            inbounds=live.inbounds,
            departure=live.departure,
            holding=live.holding,
            instance=live.instance,
            may_be_elsewhere=live.may_be_elsewhere,
        )
        self._queue.put(live.proxy, lease_until)

    def _tell(self, proxy: ProxyId) -> None:
        for listener in self._listeners:
            listener(proxy)

    def _forget_session(self, proxy: ProxyId) -> None:
        before = self._live.get(proxy)
        if before is not None:
            self._proxy_by_session.pop(before.session, None)

    def _hears_anybody(self, now: float) -> bool:
        """Tell whether somebody spoke lately: within half of the silence that ends a lease there is a heartbeat of each."""
        last = next(reversed(self._proxy_by_session.values()), None)
        return last is not None and self._live[last].lease_until > now + self.leases.silence_s / 2

    def _await_again(self, now: float) -> None:
        """The first is back: from here on the others have their while."""
        for live in list(self._live.values()):
            if live.presence is Presence.AWAITED:
                self._extend(live, now + self.leases.recovery_s)


def _place(live: LiveProxy) -> tuple[str, str]:
    return (live.proxy.mesh, live.proxy.name)
