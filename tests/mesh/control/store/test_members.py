"""Members and instances: what control planes that share a store tell each other."""

import attrs
import pytest
import trio

from mesh.control.store.values import Forgotten, MemberChange, MemberRow
from mesh.model.names import ProxyId
from tests.mesh.control.store.store_world import StoreWorld

WEB = ProxyId("default", "web-1")
CART = ProxyId("default", "cart-1")


def member(proxy: ProxyId, instance: str, *, session: str = "s1", presence: str = "present") -> MemberRow:
    return MemberRow(
        proxy=proxy,
        instance=instance,
        session=session,
        dataplane={"type": "Dataplane", "name": proxy.name},
        inbounds={"http": True},
        departure="draining",
        presence=presence,
        insight={"acked": 3},
    )


def test_members_are_saved_updated_and_removed(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        assert await store.save_members([member(WEB, "cp-1"), member(CART, "cp-1")], instance="cp-1") == ()
        rows = await store.load_members()
        assert rows == (
            attrs.evolve(member(CART, "cp-1"), revision=1),
            attrs.evolve(member(WEB, "cp-1"), revision=1),
        )
        changed = attrs.evolve(rows[1], presence="awaited")
        await store.save_members([changed], [CART], instance="cp-1")
        assert await store.load_members() == (attrs.evolve(changed, revision=2),)
        assert await store.members_since(1) == (
            (
                MemberChange(proxy=CART, row=None, revision=2),
                MemberChange(proxy=WEB, row=attrs.evolve(changed, revision=2), revision=2),
            ),
            2,
        )
        assert (await store.save_members([], [], instance="cp-1"), await store.members_since(2)) == ((), ((), 2))
        assert [change.proxy for change in (await store.members_since(0))[0]] == [WEB]
        await store.save_members([member(CART, "cp-1")], instance="cp-1")
        assert [(change.proxy, change.row is None) for change in (await store.members_since(2))[0]] == [(CART, False)]

    world.run(body)


def test_a_proxy_that_moved_is_no_longer_its_old_control_planes(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.save_members([member(WEB, "cp-1")], instance="cp-1")
        (first,) = await store.load_members()
        await store.save_members([member(WEB, "cp-2", session="s2")], instance="cp-2")
        late = attrs.evolve(first, presence="awaited")
        assert await store.save_members([late], [WEB], instance="cp-1") == (WEB,)
        (row,) = await store.load_members()
        assert (row.instance, row.session, row.presence) == ("cp-2", "s2", "present")

    world.run(body)


def test_old_removals_are_forgotten_and_say_so(world: StoreWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.control.store.member_rows.REMOVALS_KEPT", 2)

    async def body() -> None:
        store = await world.store()
        await store.save_members([member(WEB, "cp-1")], instance="cp-1")
        await store.save_members([], [WEB], instance="cp-1")
        for _ in range(2):
            await store.save_members([member(CART, "cp-1")], instance="cp-1")
        with pytest.raises(Forgotten):
            await store.members_since(1)
        assert len((await store.members_since(2))[0]) == 1

    world.run(body)


def test_control_planes_see_each_other_live_and_die(simulated: StoreWorld) -> None:
    async def body() -> None:
        database = await simulated.database()
        first, second = await simulated.store_on(database), await simulated.store_on(database)
        assert [(i.name, i.address) for i in await first.beat("cp-1", "10.0.0.1:5681")] == [("cp-1", "10.0.0.1:5681")]
        for _ in range(5):
            await second.beat("cp-2", "10.0.0.2:5681")
            await trio.sleep(10.0)
            seen = await first.beat("cp-1", "10.0.0.1:5681")
        # Life signs, not clocks, are compared: the second may believe in any date.
        assert [(i.name, i.age_s) for i in seen] == [("cp-1", 0.0), ("cp-2", 0.0)]
        for _ in range(5):
            await trio.sleep(10.0)
            seen = await first.beat("cp-1", "10.0.0.1:5681")
        assert [(i.name, round(i.age_s)) for i in seen] == [("cp-1", 0), ("cp-2", 50)]
        await trio.sleep(20.0)
        assert [i.name for i in await first.beat("cp-1", "10.0.0.1:5681")] == ["cp-1"]
        assert [i.name for i in await second.beat("cp-2", "10.0.0.3:5681")] == ["cp-1", "cp-2"]

    simulated.run(body)
