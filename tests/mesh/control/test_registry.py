"""The registry of live proxies against a model that replays the whole history for every question.

Planted, to see this fail: `of_session` that ignores the session (an old connection's end threw out its successor),
`heard` that extends nothing (proxies were lost although they spoke), `join` that keeps the replaced session,
`leave` that does as `disconnect` (who had said good-bye stayed for the grace),
`expire` that never asks whether anybody is heard (a control plane that was cut off lost its mesh), `_presence_after` that
forgets `may_be_elsewhere` (who was alive at a control plane that we did not hear left) or lets those awaited go while we are
cut off, `find_others` that gives nobody a while (they were lost before the first news of them could be read). That it
forgets `_cut_off` where a connection ended is found by `test_control_plane_that_hears_of_no_other_forgets_nobody` alone.
"""

import attrs
import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mesh.config.holding import EVERYTHING, Holding
from mesh.control.registry import Expired, Leases, LiveProxy, Presence, Registry
from mesh.model.departure import Departure
from mesh.model.names import Address, ProxyId
from mesh.resources.dataplane import Dataplane, Inbound
from mesh.resources.resource import Resource

LEASES = Leases(silence_s=15.0, disconnect_grace_s=2.0, recovery_s=20.0, lost_s=300.0)
APPLICATION = Address("127.0.0.1", 8080)
NAMES = ("cart-1", "cart-2", "web-1")
SESSIONS = tuple(f"{number:016x}" for number in range(40))


def dataplane(name: str) -> Resource:
    networking = Dataplane(
        address="10.0.0.1", inbounds=(Inbound(address=Address("10.0.0.1", 80), application=APPLICATION, name="http"),)
    )
    return Resource(kind="Dataplane", name=name, mesh="retail", spec=networking)


Entry = tuple[str, str, float]  # (presence, with a "+" where it may be elsewhere; session; end of the lease)


class History(RuleBasedStateMachine):
    """The model keeps events and no state: `(time, verb, session)`."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(LEASES)
        self.now = 0.0
        self.events: list[tuple[float, str, str]] = []
        self.name_by_session: dict[str, str] = {}

    def model(self) -> dict[str, Entry]:
        """Replay: `{name: entry}` of everybody alive now."""
        alive: dict[str, Entry] = {}
        cut = False
        for when, verb, session in self.events:
            name = self.name_by_session.get(session, "")
            heard = any(state == "connected" and end - 15.0 > when - 7.5 for state, _, end in alive.values())
            if verb == "tick":
                alive = {who: entry for who, old in alive.items() if (entry := self.ticked(old, when, heard, cut))}
            elif verb == "restore":
                alive[session] = ("awaited+", "", when + 20.0)
            elif verb in ("cut", "found"):
                cut = verb == "cut"
                if not cut:
                    alive = self.awaited_again(alive, when)
            elif verb == "join":
                if not heard:
                    alive = self.awaited_again(alive, when)
                alive[name] = ("connected", session, when + 15.0)
            elif name in alive and alive[name][1] == session:
                if verb == "goodbye":
                    del alive[name]
                    continue
                if verb == "away":
                    alive[name] = ("awaited+", "", when + 20.0)
                    continue
                spoke = verb == "heard"
                alive[name] = ("connected", session, when + 15.0) if spoke else ("disconnected", "", when + 2.0)
        return alive

    def awaited_again(self, alive: dict[str, Entry], when: float) -> dict[str, Entry]:
        return {who: (*old[:2], when + 20.0) if "awaited" in old[0] else old for who, old in alive.items()}

    def ticked(self, entry: Entry, when: float, heard: bool, cut: bool) -> Entry | None:
        state, _, end = entry
        mark = "+" if state.endswith("+") else ""
        if end > when:
            return entry
        if "lost" in state:
            return (state, "", when + 20.0) if cut or not heard else None
        if not heard or (cut and "awaited" in state):
            return ("awaited" + mark, "", when + 20.0)
        return ("lost" + mark, "", when + 300.0) if state == "connected" or mark or cut else None

    @rule(name=st.sampled_from(NAMES))
    def join(self, name: str) -> None:
        if len(self.name_by_session) == len(SESSIONS):
            return
        session = SESSIONS[len(self.name_by_session)]
        before = self.model().get(name, ("", "", 0.0))[1]
        self.name_by_session[session] = name
        replaced = self.registry.join(ProxyId("retail", name), dataplane(name), {}, session=session, now=self.now)
        assert replaced == before
        self.events.append((self.now, "join", session))

    @rule(number=st.integers(0, 39), verb=st.sampled_from(["heard", "disconnect", "goodbye", "away"]))
    def speak(self, number: int, verb: str) -> None:
        if not self.name_by_session:
            return
        session = SESSIONS[number % len(self.name_by_session)]
        holds = self.model().get(self.name_by_session[session], ("", "", 0.0))[1] == session
        if verb == "heard":
            assert self.registry.heard(session, self.now) is holds
        elif verb == "goodbye":
            left = self.registry.leave(session)
            assert (left.proxy.name if left else "") == (self.name_by_session[session] if holds else "")
        elif verb == "away":
            self.registry.send_away(session, self.now)
        else:
            self.registry.disconnect(session, self.now)
        self.events.append((self.now, verb, session))

    @rule(name=st.sampled_from(NAMES))
    def other_plane_dies(self, name: str) -> None:
        self.registry.restore(ProxyId("retail", name), dataplane(name), {}, self.now, may_be_elsewhere=True)
        self.events.append((self.now, "restore", name))

    @rule(cut=st.booleans())
    def hear_of_others(self, cut: bool) -> None:
        if cut:
            self.registry.lose_others()
        else:
            self.registry.find_others(self.now)
        self.events.append((self.now, "cut" if cut else "found", ""))

    @rule(span_s=st.sampled_from([0.5, 2.0, 5.0, 10.0, 20.0, 100.0]), beating=st.sets(st.sampled_from(NAMES)))
    def pass_time(self, span_s: float, beating: set[str]) -> None:
        self.now += span_s
        for name, (_, session, _) in sorted(self.model().items()):
            if name in beating and session:
                self.registry.heard(session, self.now)
                self.events.append((self.now, "heard", session))
        before = self.model()
        self.events.append((self.now, "tick", ""))
        after = self.model()
        expired = self.registry.expire(self.now)
        assert [live.proxy.name for live in expired.left] == sorted(set(before) - set(after))
        newly_lost = [name for name in after if "lost" in after[name][0] and "lost" not in before[name][0]]
        assert [live.proxy.name for live in expired.lost] == sorted(newly_lost)

    @invariant()
    def agrees_with_the_model(self) -> None:
        actual = {
            live.proxy.name: (live.presence.value + "+" * live.may_be_elsewhere, live.session, live.lease_until)
            for live in self.registry.proxies()
        }
        model = self.model()
        assert actual == model
        assert self.registry.next_expiry() == min((end for _, _, end in model.values()), default=float("inf"))
        for session, name in self.name_by_session.items():
            live = self.registry.of_session(session)
            holds = model.get(name, ("", "", 0.0))[1] == session
            assert (live.proxy.name if live else "") == (name if holds else "")


History.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestHistory = History.TestCase


def joined(registry: Registry, name: str, session: str) -> None:
    registry.join(ProxyId("retail", name), dataplane(name), {}, session=session, now=0.0)


def test_departure_is_kept_until_the_proxy_joins_anew() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    registry.report_health(SESSIONS[0], {}, Departure.DRAINING)
    registry.heard(SESSIONS[0], 1.0)
    registry.disconnect(SESSIONS[0], 2.0)
    live = registry.find(ProxyId("retail", "web-1"))
    assert live is not None and (live.presence, live.departure) == (Presence.DISCONNECTED, Departure.DRAINING)
    joined(registry, "web-1", SESSIONS[1])
    live = registry.of_session(SESSIONS[1])
    assert live is not None and live.departure is Departure.STAYING


def test_health_reports_name_what_changed() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    assert registry.report_health(SESSIONS[0], {"http": True}) == ()
    assert registry.report_health(SESSIONS[0], {"http": False, "admin": False}) == ("admin", "http")
    assert registry.report_health(SESSIONS[0], {"http": False}) == ("admin",)


def test_health_of_a_replaced_session_is_not_taken() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    joined(registry, "web-1", SESSIONS[1])
    assert registry.report_health(SESSIONS[0], {"http": False}) == ()
    live = registry.find(ProxyId("retail", "web-1"))
    assert live is not None and live.is_ready("http")


def names(proxies: tuple[LiveProxy, ...]) -> list[str]:
    return [live.proxy.name for live in proxies]


def test_proxy_whose_connection_ended_leaves_after_the_grace() -> None:
    registry = Registry(LEASES)
    joined(registry, "cart-1", SESSIONS[0])
    joined(registry, "web-1", SESSIONS[1])
    registry.disconnect(SESSIONS[0], now=1.0)
    assert registry.expire(2.9) == Expired()
    assert names(registry.expire(3.0).left) == ["cart-1"]


def test_silent_proxy_is_lost_and_not_ready_while_others_are_heard() -> None:
    registry = Registry(LEASES)
    joined(registry, "cart-1", SESSIONS[0])
    joined(registry, "web-1", SESSIONS[1])
    registry.heard(SESSIONS[1], now=14.0)
    assert names(registry.expire(15.0).lost) == ["cart-1"]
    live = registry.find(ProxyId("retail", "cart-1"))
    assert live is not None and live.readiness() == {"http": False}
    registry.heard(SESSIONS[1], now=315.0)
    assert names(registry.expire(315.0).left) == ["cart-1"]


def test_control_plane_that_hears_nobody_keeps_everybody() -> None:
    registry = Registry(LEASES)
    joined(registry, "cart-1", SESSIONS[0])
    joined(registry, "web-1", SESSIONS[1])
    registry.heard(SESSIONS[1], now=4.0)
    for now in (15.0, 19.0, 100.0, 1000.0):
        assert registry.expire(now) == Expired()
    live = registry.find(ProxyId("retail", "cart-1"))
    assert live is not None and live.is_ready("http") and live.presence is Presence.AWAITED


def test_those_awaited_have_a_while_from_when_the_first_is_back() -> None:
    registry = Registry(LEASES)
    registry.restore(ProxyId("retail", "cart-1"), dataplane("cart-1"), {"http": False}, now=0.0)
    registry.restore(ProxyId("retail", "web-1"), dataplane("web-1"), {}, now=0.0)
    assert registry.expire(20.0) == Expired()
    registry.join(ProxyId("retail", "web-1"), dataplane("web-1"), {}, session=SESSIONS[0], now=39.0)
    for now in (45.0, 50.0, 55.0):
        registry.heard(SESSIONS[0], now)
        assert registry.expire(now) == Expired()
    registry.heard(SESSIONS[0], 59.0)
    assert names(registry.expire(59.0).left) == ["cart-1"]


def test_proxy_of_a_control_plane_that_fell_silent_is_lost_and_not_gone() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    cart = ProxyId("retail", "cart-1")
    registry.restore(cart, dataplane("cart-1"), {}, now=0.0, may_be_elsewhere=True)
    registry.heard(SESSIONS[0], now=19.0)
    assert names(registry.expire(20.0).lost) == ["cart-1"]
    live = registry.find(cart)
    assert live is not None and live.readiness() == {"http": False}
    registry.heard(SESSIONS[0], now=320.0)
    assert names(registry.expire(320.0).left) == ["cart-1"]


def test_control_plane_that_hears_of_no_other_forgets_nobody() -> None:
    registry = Registry(LEASES)
    joined(registry, "cart-1", SESSIONS[0])
    joined(registry, "cart-2", SESSIONS[1])
    joined(registry, "web-1", SESSIONS[2])
    registry.lose_others()
    registry.send_away(SESSIONS[0], now=1.0)
    registry.disconnect(SESSIONS[1], now=1.0)
    registry.heard(SESSIONS[2], now=3.0)
    assert names(registry.expire(3.0).lost) == ["cart-2"]
    for now in (100.0, 1000.0):
        registry.heard(SESSIONS[2], now)
        assert registry.expire(now) == Expired()
    cart = registry.find(ProxyId("retail", "cart-1"))
    assert cart is not None and cart.is_ready("http") and not registry.heard(SESSIONS[0], 1000.0)
    registry.find_others(now=1001.0)
    registry.heard(SESSIONS[2], now=1020.0)
    assert [names(expired) for expired in attrs.astuple(registry.expire(1020.0), recurse=False)] == [["cart-2"], []]
    assert names(registry.expire(1021.0).lost) == ["cart-1"]


def elsewhere(name: str, presence: Presence = Presence.CONNECTED) -> LiveProxy:
    return LiveProxy(
        proxy=ProxyId("retail", name),
        dataplane=dataplane(name),
        presence=presence,
        lease_until=float("inf"),
        instance="cp-2",
    )


def test_proxies_of_another_control_plane_are_its_to_expire() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    registry.place(elsewhere("cart-1"))
    registry.heard(SESSIONS[0], now=1e9 - 1.0)
    assert registry.expire(1e9) == Expired()
    assert names(registry.of_mesh("retail")) == ["cart-1", "web-1"] and registry.of_mesh("other") == ()
    registry.drop(ProxyId("retail", "cart-1"))
    assert names(registry.proxies()) == ["web-1"]


def test_session_ends_when_its_proxy_joins_another_control_plane() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    registry.place(elsewhere("web-1"))
    assert registry.of_session(SESSIONS[0]) is None
    assert not registry.heard(SESSIONS[0], now=1.0)
    registry.disconnect(SESSIONS[0], now=1.0)
    live = registry.find(ProxyId("retail", "web-1"))
    assert live is not None and live.instance == "cp-2" and live.presence is Presence.CONNECTED
    joined(registry, "web-1", SESSIONS[1])
    live = registry.of_session(SESSIONS[1])
    assert live is not None and live.instance == ""


def test_other_control_planes_proxies_do_not_speak_to_us() -> None:
    registry = Registry(LEASES)
    registry.place(elsewhere("cart-1"))
    registry.restore(ProxyId("retail", "web-1"), dataplane("web-1"), {}, now=0.0)
    assert registry.expire(1000.0) == Expired()
    assert registry.find(ProxyId("retail", "web-1")) is not None


def test_dataplane_of_a_member_can_change() -> None:
    registry = Registry(LEASES)
    joined(registry, "web-1", SESSIONS[0])
    other = dataplane("web-1")
    registry.replace_dataplane(ProxyId("retail", "web-1"), other)
    live = registry.of_session(SESSIONS[0])
    assert live is not None and live.dataplane is other


def test_what_a_sidecar_acknowledged_counts_until_it_joins_again() -> None:
    registry, nothing = Registry(LEASES), Holding(unopened=("http",), certified=False)
    proxy, told = ProxyId("retail", "web-1"), list[str]()
    registry.on_change(lambda moved: told.append(moved.name))
    registry.join(proxy, dataplane("web-1"), {}, session=SESSIONS[0], now=0.0, holding=nothing)
    assert registry.acknowledged(SESSIONS[0], EVERYTHING) and not registry.acknowledged(SESSIONS[0], EVERYTHING)
    registry.heard(SESSIONS[0], now=1.0)
    live = registry.find(proxy)
    assert live is not None and live.holding == EVERYTHING and len(told) == 2
    registry.join(proxy, dataplane("web-1"), {}, session=SESSIONS[1], now=2.0, holding=nothing)
    assert not registry.acknowledged(SESSIONS[0], EVERYTHING)
    live = registry.find(proxy)
    assert live is not None and live.holding == nothing


def test_who_came_changed_or_left_is_told_and_heartbeats_are_not() -> None:
    registry, told = Registry(LEASES), list[str]()
    registry.on_change(lambda proxy: told.append(proxy.name))
    joined(registry, "web-1", SESSIONS[0])
    joined(registry, "cart-1", SESSIONS[1])
    assert told == ["web-1", "cart-1"]
    registry.heard(SESSIONS[1], now=1.0)
    registry.heard(SESSIONS[0], now=10.0)
    assert len(told) == 2
    registry.report_health(SESSIONS[0], {"http": False})
    registry.replace_dataplane(ProxyId("retail", "web-1"), dataplane("web-1"))
    assert told[2:] == ["web-1", "web-1"]
    assert names(registry.expire(16.0).lost) == ["cart-1"]
    registry.heard(SESSIONS[0], now=316.0)
    assert names(registry.expire(316.0).left) == ["cart-1"]
    registry.drop(ProxyId("retail", "web-1"))
    registry.drop(ProxyId("retail", "web-1"))
    assert told[4:] == ["cart-1", "cart-1", "web-1"]
