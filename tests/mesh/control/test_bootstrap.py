"""The control plane's own secrets: made once, kept, and never replaced silently."""

import itertools

import pytest
import trio
from memory_world import EPOCH_S, MemoryWorld
from trio.testing import MockClock

from mesh.control.bootstrap import keep_server_certificate, load_or_create_secrets
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.certificate import KeyType, decode_chain, names_of
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.errors import IdentityError
from mesh.model.security import ServerTls


def test_secrets_are_made_once() -> None:
    async def test() -> None:
        env = MemoryWorld().environment("control-plane")
        first = await load_or_create_secrets(env, ["127.0.0.1", "cp.local"], key_type=KeyType.ED25519)
        second = await load_or_create_secrets(env, ["127.0.0.1"], key_type=KeyType.ED25519)
        assert first.ca_pem == second.ca_pem
        token = issue_dataplane_token(
            first.token_key,
            mesh="retail",
            lifetime_s=60.0,
            now=env.wall_clock(),
            random=env.randomness.stream("token"),
        )
        second.token_verifier.verify(token, now=env.wall_clock(), mesh="retail", name="web-1")
        assert "PRIVATE" not in repr(first)

    trio.run(test)


def test_server_certificate_carries_the_names_and_is_renewed_before_it_expires() -> None:
    async def test() -> None:
        env = MemoryWorld().environment("control-plane")
        secrets = await load_or_create_secrets(env, ["127.0.0.1", "cp.local"], key_type=KeyType.ED25519)
        used: list[ServerTls] = [secrets.server_tls(env)]
        names = names_of(decode_chain(used[0].svid.chain_pem)[0])
        assert [str(name.value) for name in names or ()][1:] == ["127.0.0.1", "cp.local"]
        assert control_plane_tls(secrets.ca_pem, "cp.local").trust[0].roots_pem == (secrets.ca_pem,)
        with trio.move_on_after(200 * 86400.0):
            await keep_server_certificate(env, secrets, used.append)
        for before, after in itertools.pairwise(used):
            assert after.svid.not_before + 10.0 < before.svid.not_after
        assert used[-1].svid.not_after > EPOCH_S + trio.current_time()

    trio.run(test, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("file", ["authority.pem", "dataplane-token-1.pem"])
def test_damaged_secret_stops_the_start(file: str) -> None:
    async def test() -> None:
        world = MemoryWorld()
        env = world.environment("control-plane")
        await load_or_create_secrets(env, ["127.0.0.1"], key_type=KeyType.ED25519)
        files = world.disks["control-plane"].files
        files[f"control-plane/secrets/{file}"] = b"-----BEGIN"
        with pytest.raises(IdentityError):
            await load_or_create_secrets(env, ["127.0.0.1"], key_type=KeyType.ED25519)

    trio.run(test)
