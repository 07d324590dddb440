"""The issuer: one authority a trust domain of a mesh, kept before it signs, shared, followed by another in time."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import attrs
import pytest
import trio
from memory_store import Handle, SharedDatabase, open_store, same_key
from memory_world import MemoryWorld
from trio.testing import MockClock

from mesh.control.catalogue import Catalogue, Origin
from mesh.control.initial_resources import mesh_ca, mesh_of_name, secret
from mesh.control.issuing import OLD_FILE, Issuer, IssuerSettings
from mesh.control.store.values import Delete, Put
from mesh.identity.authority import Authority
from mesh.identity.authority_ring import AuthorityRing
from mesh.identity.certificate import KeyType, decode_chain, generate_key, make_csr
from mesh.model.errors import IdentityError, StoreError
from mesh.model.names import SpiffeId
from mesh.runtime.environment import Transaction

WEB = SpiffeId("retail.default.mesh.local", "/workload/web")
DOMAIN = WEB.trust_domain
DAY_S = 86400.0
T = TypeVar("T")


@attrs.define(eq=False)
class Place:
    """A world with one database; `changes` are those that issuers told of."""

    world: MemoryWorld = attrs.field(factory=MemoryWorld)
    database: SharedDatabase = attrs.field(factory=SharedDatabase)
    changes: list[tuple[str, float]] = attrs.field(factory=list)

    async def issuer(self, host: str = "cp-1") -> Issuer:
        env = self.world.environment(host)
        catalogue = Catalogue(await open_store(self.database, env), new_mesh_key=same_key)
        await catalogue.load()
        if not catalogue.meshes():
            meshes = [Put(resource=mesh_of_name(name)) for name in ("bank", "retail")]
            await catalogue.write(meshes, by="test", origin=Origin.CONTROL_PLANE)
        settings = IssuerSettings(
            key_type=KeyType.ED25519,
            root_lifetime_s=100 * DAY_S,
            leaf_lifetime_s_max=5 * DAY_S,
            propagation_s=DAY_S,
        )
        issuer = Issuer(env, settings, catalogue, lambda mesh: self.changes.append((mesh, trio.current_time())))
        issuer.load()
        return issuer


def at_place(body: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        trio.run(body, Place(), clock=MockClock(autojump_threshold=0))

    run.__name__ = body.__name__
    return run


def csr() -> str:
    return make_csr(generate_key(KeyType.ED25519), WEB)


@at_place
async def test_authority_survives_a_restart(place: Place) -> None:
    first = await place.issuer()
    await first.ensure("retail", DOMAIN)
    second = await place.issuer()
    await second.ensure("retail", DOMAIN)
    assert second.trust_bundles("retail") == first.trust_bundles("retail")
    assert len(place.world.named("authority.created")) == 1
    leaf = decode_chain(second.sign("retail", csr(), WEB, 3600.0))[0]
    leaf.verify_directly_issued_by(decode_chain(first.trust_bundles("retail")[0].roots_pem[0])[0])


@at_place
async def test_meshes_do_not_share_an_authority_even_for_one_trust_domain(place: Place) -> None:
    issuer = await place.issuer()
    await issuer.ensure("retail", DOMAIN)
    await issuer.ensure("bank", DOMAIN)
    (retail,), (bank,) = issuer.trust_bundles("retail"), issuer.trust_bundles("bank")
    assert retail.trust_domain == bank.trust_domain and retail.roots_pem != bank.roots_pem


@at_place
async def test_two_that_need_an_authority_at_once_get_the_same(place: Place) -> None:
    one, other = await place.issuer("cp-1"), await place.issuer("cp-2")
    async with trio.open_nursery() as nursery:
        for issuer in (one, one, other, other):
            nursery.start_soon(issuer.ensure, "retail", DOMAIN)
    assert len(place.world.named("authority.created")) == 1
    assert one.trust_bundles("retail") == other.trust_bundles("retail") != ()


@at_place
async def test_roots_follow_one_another_with_overlap(place: Place) -> None:
    issuer = await place.issuer()
    await issuer.ensure("retail", DOMAIN)
    (first,) = issuer.trust_bundles("retail")[0].roots_pem
    place.changes.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(issuer.run)
        await trio.sleep(70.5 * DAY_S)
        second, old = issuer.trust_bundles("retail")[0].roots_pem
        assert old == first
        leaf = decode_chain(issuer.sign("retail", csr(), WEB, 3600.0))[0]
        leaf.verify_directly_issued_by(decode_chain(first)[0])
        await trio.sleep(1.5 * DAY_S)
        leaf = decode_chain(issuer.sign("retail", csr(), WEB, 3600.0))[0]
        leaf.verify_directly_issued_by(decode_chain(second)[0])
        assert issuer.trust_bundles("retail")[0].roots_pem == (second, first)
        await trio.sleep(6 * DAY_S)
        assert issuer.trust_bundles("retail")[0].roots_pem == (second,)
        nursery.cancel_scope.cancel()
    assert len(place.changes) >= 2


@at_place
async def test_control_planes_agree_on_the_successor(place: Place) -> None:
    issuers = [await place.issuer(f"cp-{number}") for number in (1, 2)]
    await issuers[0].ensure("retail", DOMAIN)
    await issuers[1].catalogue.refresh()

    async def follow(issuer: Issuer) -> None:
        while True:
            await issuer.catalogue.store.wait_changed()
            await issuer.catalogue.refresh()

    async with trio.open_nursery() as nursery:
        for issuer in issuers:
            nursery.start_soon(issuer.run)
            nursery.start_soon(follow, issuer)
        with trio.move_on_after(70.0 * DAY_S + 7200.0):
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    bundles = [issuer.trust_bundles("retail")[0].roots_pem for issuer in issuers]
    assert bundles[0] == bundles[1] and len(bundles[0]) == 2


@at_place
async def test_damaged_authority_stops_the_start(place: Place) -> None:
    issuer = await place.issuer()
    damaged = secret(mesh_ca("retail", DOMAIN), b'{"roots": []')
    await issuer.catalogue.write([Put(resource=damaged)], by="test", origin=Origin.CONTROL_PLANE)
    (line,) = place.world.named("authority.damaged")
    assert line["level"] == "error"
    with pytest.raises(IdentityError):
        await place.issuer()


@attrs.define(eq=False)
class FullHandle(Handle):
    """The disk is full from now on."""

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        await trio.lowlevel.checkpoint()
        raise StoreError("database or disk is full")


@at_place
async def test_authority_that_cannot_be_kept_does_not_sign(place: Place) -> None:
    issuer = await place.issuer()
    issuer.catalogue.store.database = FullHandle(place.database)
    with pytest.raises(IdentityError, match="disk is full"):
        await issuer.ensure("retail", DOMAIN)
    assert issuer.trust_bundles("retail") == ()


@at_place
async def test_mesh_that_is_gone_gets_no_authority(place: Place) -> None:
    issuer = await place.issuer()
    with pytest.raises(IdentityError, match="there is no mesh 'gone'"):
        await issuer.ensure("gone", DOMAIN)


@at_place
async def test_authority_of_an_older_version_is_taken_over(place: Place) -> None:
    env = place.world.environment("cp-1")
    root = Authority.create(
        DOMAIN, now=env.wall_clock(), serial_random=env.randomness.stream("test"), key_type=KeyType.ED25519
    )
    ring = AuthorityRing.start(root, leaf_lifetime_s_max=5 * DAY_S, now=env.wall_clock())
    await env.disk.write(OLD_FILE.format(trust_domain=DOMAIN), ring.encode().encode())
    issuer = await place.issuer()
    await issuer.ensure("retail", DOMAIN)
    assert issuer.trust_bundles("retail")[0].roots_pem == (root.root_pem,)


@attrs.define(eq=False)
class DeafHandle(Handle):
    """Writing works, reading does not."""

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        if read_only:
            await trio.lowlevel.checkpoint()
            raise StoreError("the server is away")
        return await Handle.transact(self, work)


@at_place
async def test_authority_that_another_made_and_that_cannot_be_read_yet_is_asked_for_again(place: Place) -> None:
    first, second = await place.issuer("cp-1"), await place.issuer("cp-2")
    await first.ensure("retail", DOMAIN)
    handle = second.catalogue.store.database
    second.catalogue.store.database = DeafHandle(place.database)
    with pytest.raises(IdentityError, match="cannot be read yet"):
        await second.ensure("retail", DOMAIN)
    second.catalogue.store.database = handle
    await second.ensure("retail", DOMAIN)
    assert second.trust_bundles("retail") == first.trust_bundles("retail") != ()


@at_place
async def test_mesh_may_go_while_authorities_rotate(place: Place) -> None:
    issuer = await place.issuer()
    for mesh in ("bank", "retail"):
        await issuer.ensure(mesh, DOMAIN)
    await trio.sleep(75 * DAY_S)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(issuer.catalogue.write, [Delete(key=("Mesh", "", "retail"))], by="jo"))
        await trio.lowlevel.checkpoint()
        nursery.start_soon(issuer.run)
        await trio.sleep(60.0)
        nursery.cancel_scope.cancel()
    assert issuer.trust_bundles("retail") == ()
    assert len(issuer.trust_bundles("bank")[0].roots_pem) == 2


@at_place
async def test_root_that_could_not_be_kept_is_shown_to_nobody(place: Place) -> None:
    issuer = await place.issuer()
    await issuer.ensure("retail", DOMAIN)
    before = issuer.trust_bundles("retail")
    await trio.sleep(75 * DAY_S)
    shown: list[object] = []

    class SlowHandle(FullHandle):
        async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
            shown.append(issuer.trust_bundles("retail"))
            return await FullHandle.transact(self, work)

    issuer.catalogue.store.database = SlowHandle(place.database)
    with trio.move_on_after(60.0):
        await issuer.run()
    assert shown and all(bundles == before for bundles in shown)
    assert issuer.trust_bundles("retail") == before
