"""The issuer: one authority a trust domain, kept before it signs, followed by another in time."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from memory_world import MemoryDisk, MemoryWorld
from trio.testing import MockClock

from mesh.control.issuing import Issuer, IssuerSettings
from mesh.identity.certificate import KeyType, decode_chain, generate_key, make_csr
from mesh.model.errors import IdentityError
from mesh.model.names import SpiffeId

WEB = SpiffeId("retail.default.mesh.local", "/workload/web")
DAY_S = 86400.0


def run(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=MockClock(autojump_threshold=0))


def issuer_in(world: MemoryWorld, on_change: Callable[[], None] = lambda: None) -> Issuer:
    settings = IssuerSettings(
        folder="authorities",
        key_type=KeyType.ED25519,
        root_lifetime_s=100 * DAY_S,
        leaf_lifetime_s_max=5 * DAY_S,
        propagation_s=DAY_S,
    )
    return Issuer(world.environment("control-plane"), settings, on_change)


def csr() -> str:
    return make_csr(generate_key(KeyType.ED25519), WEB)


def test_authority_survives_a_restart() -> None:
    async def test() -> None:
        world = MemoryWorld()
        first = issuer_in(world)
        await first.load()
        await first.ensure(WEB.trust_domain)
        second = issuer_in(world)
        await second.load()
        await second.ensure(WEB.trust_domain)
        assert second.trust_bundles() == first.trust_bundles()
        assert len(world.named("authority.created")) == 1
        leaf = decode_chain(second.sign(csr(), WEB, 3600.0))[0]
        root = decode_chain(first.trust_bundles()[0].roots_pem[0])[0]
        leaf.verify_directly_issued_by(root)

    run(test)


def test_two_that_need_an_authority_at_once_get_the_same() -> None:
    async def test() -> None:
        world = MemoryWorld()
        issuer = issuer_in(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(issuer.ensure, WEB.trust_domain)
            nursery.start_soon(issuer.ensure, WEB.trust_domain)
        assert len(world.named("authority.created")) == 1

    run(test)


def test_roots_follow_one_another_with_overlap() -> None:
    async def test() -> None:
        world, changes = MemoryWorld(), []
        issuer = issuer_in(world, lambda: changes.append(trio.current_time()))
        await issuer.ensure(WEB.trust_domain)
        (first,) = issuer.trust_bundles()[0].roots_pem
        async with trio.open_nursery() as nursery:
            nursery.start_soon(issuer.run)
            await trio.sleep(70.5 * DAY_S)
            second, old = issuer.trust_bundles()[0].roots_pem
            assert old == first
            decode_chain(issuer.sign(csr(), WEB, 3600.0))[0].verify_directly_issued_by(decode_chain(first)[0])
            await trio.sleep(1.5 * DAY_S)
            decode_chain(issuer.sign(csr(), WEB, 3600.0))[0].verify_directly_issued_by(decode_chain(second)[0])
            assert issuer.trust_bundles()[0].roots_pem == (second, first)
            await trio.sleep(6 * DAY_S)
            assert issuer.trust_bundles()[0].roots_pem == (second,)
            nursery.cancel_scope.cancel()
        assert len(changes) >= 2

    run(test)


def test_damaged_authority_stops_the_start() -> None:
    async def test() -> None:
        world = MemoryWorld()
        issuer = issuer_in(world)
        await issuer.ensure(WEB.trust_domain)
        files = world.disks["control-plane"].files
        for path in files:
            files[path] = files[path][:100]
        with pytest.raises(IdentityError):
            await issuer_in(world).load()

    run(test)


class FullDisk(MemoryDisk):
    async def write(self, path: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(28, "No space left on device")


def test_authority_that_cannot_be_kept_does_not_sign() -> None:
    async def test() -> None:
        world = MemoryWorld(disks={"control-plane": FullDisk()})
        issuer = issuer_in(world)
        with pytest.raises(IdentityError, match="No space left"):
            await issuer.ensure(WEB.trust_domain)
        assert issuer.trust_bundles() == ()

    run(test)


def test_trust_domain_is_never_a_path() -> None:
    async def test() -> None:
        world = MemoryWorld()
        await issuer_in(world).ensure("..")
        assert list(world.disks["control-plane"].files) == ["authorities/roots-of-...json"]

    run(test)
