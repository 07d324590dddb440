"""SharedMembers: who is in the mesh, kept in the store: for our own next life, and between the control planes that share it.

Owns: which of our proxies' rows are to be written, and how far we have read the others'. Each control plane writes the
proxies that are connected to it; who joins takes its row over, so the connection that was made last counts. When a
control plane falls silent its proxies are awaited by all others, then lost, for they may be connected to it still. Writes are
batched: joins come in crowds.
"""

import math
from collections.abc import Callable, Mapping

import attrs
import trio

from mesh.control.insights import Insight, Insights, decode, encode
from mesh.control.instance_name import is_former_life
from mesh.control.registry import LiveProxy, Presence, Registry
from mesh.control.store.store import Store
from mesh.control.store.values import Forgotten, MemberChange, MemberRow
from mesh.discovery.wake_up import WakeUp
from mesh.model.departure import Departure
from mesh.model.errors import ConfigError, StoreError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from mesh.resources.writing import universal
from mesh.runtime.environment import Environment

WRITE_INTERVAL_S = 0.5  # A crash may lose so much of what is in the store for comfort, not for safety.
BEAT_S = 2.0
DEAD_S = 7.0  # without a sign of life: some beats, and a slow database
RETRY_S = 1.0


@attrs.define(eq=False, kw_only=True)
class SharedMembers:
    """See the module's text. `shared`: other control planes use the store too."""

    env: Environment
    store: Store
    registry: Registry
    insights: Insights
    instance: str
    shared: bool
    insight_interval_s: float
    insight_of: Callable[[ProxyId], Insight]
    on_change: Callable[[ProxyId], None]  # another control plane's proxy is otherwise than before
    on_taken: Callable[[ProxyId], None]  # a proxy of ours has joined another control plane
    _dirty: dict[ProxyId, bool] = attrs.field(factory=dict, init=False)  # True: it joined, and is ours from now on
    _observed: dict[ProxyId, None] = attrs.field(factory=dict, init=False)
    reached_at: float = attrs.field(default=math.inf, init=False)  # Trio's clock; when we last asked and were answered
    _others_alive: bool = attrs.field(default=False, init=False)  # at that time
    _revision: int = attrs.field(default=0, init=False)
    _changed: WakeUp = attrs.field(factory=WakeUp, init=False)
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @property
    def cut_off(self) -> bool:
        """Is it so long that we could not reach the store that other control planes take us for dead?"""
        return self._others_alive and trio.current_time() - self.reached_at >= DEAD_S

    def note(self, proxy: ProxyId, *, joined: bool = False) -> None:
        """A proxy of ours has changed, or is gone: write it soon."""
        self._dirty[proxy] = self._dirty.get(proxy, False) or joined
        self._changed.set()

    def observed(self, proxy: ProxyId) -> None:
        """Something was observed of a proxy of ours: write it by and by."""
        self._observed[proxy] = None

    async def restore(self) -> None:
        """Enter who was there before we started. Raises: StoreError."""
        self.reached_at = trio.current_time()
        changes, self._revision = await self.store.members_since(0)
        now = trio.current_time()
        for change in changes:
            dataplane = self._dataplane_of(change)
            if change.row is None or dataplane is None:
                continue
            if self.shared and not is_former_life(change.row.instance, self.instance):
                self._place(change.row, dataplane)
                continue
            departure, insight = Departure(change.row.departure), decode(change.row.insight)
            certified = insight.holding.certified
            self.registry.restore(change.proxy, dataplane, change.row.inbounds, now, departure, certified=certified)
            self.insights.replace(change.proxy, insight)
            if change.row.instance != self.instance:
                self.note(change.proxy, joined=True)
        if changes:
            self.env.log.info("registry.restored", proxies=len(self.registry))

    async def run(self, address: str) -> None:
        """Keep the store up to date until cancelled; `address` is where sidecars reach us."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._write_what_was_observed)
            if self.shared:
                nursery.start_soon(self._beat, address)

    async def refresh(self) -> None:
        """Take over what other control planes wrote. Raises: StoreError."""
        async with self._one_at_a_time:
            try:
                changes, self._revision = await self.store.members_since(self._revision)
            except Forgotten:
                changes, self._revision = await self.store.members_since(0)
                here = {change.proxy for change in changes}
                gone = [live.proxy for live in self.registry.proxies() if live.instance and live.proxy not in here]
                changes = (*changes, *(MemberChange(proxy=proxy, row=None, revision=0) for proxy in gone))
            for change in changes:
                self._take(change)

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            try:
                await self._flush()
            except StoreError as error:
                self.env.log.warning("registry.not_kept", reason=str(error))
                await trio.sleep(RETRY_S)
                self._changed.set()
            await trio.sleep(WRITE_INTERVAL_S)

    async def _flush(self) -> None:
        async with self._one_at_a_time:
            dirty, self._dirty = self._dirty, {}
            live_by_proxy = {proxy: self.registry.find(proxy) for proxy in dirty}
            upserts = [
                self._row(live, takes_over=dirty[proxy])
                for proxy, live in live_by_proxy.items()
                if live is not None and not live.instance
            ]
            removed = [proxy for proxy, live in live_by_proxy.items() if live is None]
            try:
                await self.store.save_members(upserts, removed, instance=self.instance)
            except StoreError:
                for proxy, joined in dirty.items():
                    self._dirty[proxy] = self._dirty.get(proxy, False) or joined
                raise

    async def _write_what_was_observed(self) -> None:
        while True:
            await trio.sleep(self.insight_interval_s)
            observed, self._observed = self._observed, {}
            for proxy in observed:
                live = self.registry.find(proxy)
                if live is not None and not live.instance:
                    self.note(proxy)

    async def _beat(self, address: str) -> None:
        heard_at = judges_from = trio.current_time()
        while True:
            asked_at = trio.current_time()
            try:
                instances = await self.store.beat(self.instance, address)
            except StoreError as error:
                self.env.log.warning("instance.not_heard", reason=str(error))
            else:
                now = trio.current_time()
                alive = {found.name: None for found in instances if found.age_s < DEAD_S}
                self.reached_at, self._others_alive = asked_at, any(name != self.instance for name in alive)
                if now - heard_at > DEAD_S:
                    judges_from = now + DEAD_S  # The store was away, for the others too: they have yet to speak again.
                heard_at = now
                if now >= judges_from:
                    self._await_proxies_of_the_dead(alive)
            await trio.sleep(BEAT_S)

    def _await_proxies_of_the_dead(self, alive: Mapping[str, None]) -> None:
        orphans = [live for live in self.registry.proxies() if live.instance and live.instance not in alive]
        for live in orphans:
            self.registry.restore(
                live.proxy,
                live.dataplane,
                live.inbounds,
                trio.current_time(),
                live.departure,
                certified=live.holding.certified,
                may_be_elsewhere=True,
            )
            self.note(live.proxy, joined=True)
            self.on_change(live.proxy)
        for instance in sorted({live.instance for live in orphans}):
            count = sum(live.instance == instance for live in orphans)
            self.env.log.warning("instance.lost", instance=instance, proxies_awaited=count)

    def _take(self, change: MemberChange) -> None:
        proxy, row = change.proxy, change.row
        live = self.registry.find(proxy)
        if row is None:
            self._take_removal(proxy, live)
            return
        if row.instance == self.instance or self._dirty.get(proxy):
            return  # Our own words, or we are about to say otherwise.
        if live is not None and live.session and row.presence != Presence.CONNECTED.value:
            self.note(proxy, joined=True)  # They wait for somebody who is here.
            return
        dataplane = self._dataplane_of(change)
        if dataplane is None:
            return
        if live is not None and live.session:
            self.on_taken(proxy)
        self._place(row, dataplane)
        now = self.registry.find(proxy)
        if live is None or now is None or _seen(live) != _seen(now):
            self.on_change(proxy)

    def _take_removal(self, proxy: ProxyId, live: LiveProxy | None) -> None:
        if live is not None and live.instance:
            self.registry.drop(proxy)
            self.insights.forget(proxy)
            self.on_change(proxy)
        elif live is not None and live.presence is Presence.CONNECTED:
            # While we could not reach the store, others waited for it in vain; it was here all the time.
            self.note(proxy, joined=True)

    def _place(self, row: MemberRow, dataplane: Resource) -> None:
        insight = decode(row.insight)
        live = LiveProxy(
            proxy=row.proxy,
            dataplane=dataplane,
            presence=Presence(row.presence),
            lease_until=math.inf,
            inbounds=row.inbounds,
            departure=Departure(row.departure),
            holding=insight.holding,
            instance=row.instance,
        )
        self.registry.place(live)
        self.insights.replace(row.proxy, insight)

    def _dataplane_of(self, change: MemberChange) -> Resource | None:
        """Return the Dataplane of a row: the same object as long as it says the same."""
        if change.row is None:
            return None
        live = self.registry.find(change.proxy)
        if live is not None and universal(live.dataplane) == change.row.dataplane:
            return live.dataplane
        try:
            return load_resource(change.row.dataplane, file="the store")
        except ConfigError as error:
            self.env.log.warning("registry.not_restored", proxy=change.proxy.name, reason=str(error))
            return None

    def _row(self, live: LiveProxy, *, takes_over: bool) -> MemberRow:
        return MemberRow(
            proxy=live.proxy,
            instance=self.instance,
            session=live.session,
            dataplane=universal(live.dataplane),
            inbounds=dict(live.inbounds),
            departure=live.departure.value,
            presence=live.presence.value,
            insight=encode(attrs.evolve(self.insight_of(live.proxy), holding=live.holding)),
            revision=0 if takes_over else 1,
        )


def _seen(live: LiveProxy) -> tuple[object, ...]:
    """Return what others' configuration depends on."""
    return (live.dataplane, live.readiness(), live.departure, live.holding)
