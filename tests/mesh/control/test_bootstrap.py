"""The control plane's own certificate: from the installation's authority, and renewed in time."""

import itertools

import pytest
import trio
from memory_store import open_store
from memory_world import EPOCH_S
from test_first_start import Installation
from trio.testing import MockClock

from mesh.control.bootstrap import keep_server_certificate, read_secrets
from mesh.control.catalogue import Catalogue, Origin
from mesh.control.initial_resources import CONTROL_PLANE_CA, global_secret, secret
from mesh.control.store.values import Put
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.certificate import KeyType, decode_chain, names_of
from mesh.model.errors import IdentityError
from mesh.model.security import ServerTls


def test_server_certificate_carries_the_names_and_is_renewed_before_it_expires() -> None:
    async def test() -> None:
        installation = Installation()
        catalogue, env = await installation.start(), installation.world.environment("cp-1")
        secrets = read_secrets(catalogue, ["127.0.0.1", "cp.local"], key_type=KeyType.ED25519)
        assert "PRIVATE" not in repr(secrets)
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


def test_damaged_authority_is_not_made_anew() -> None:
    async def test() -> None:
        installation = Installation()
        store = await open_store(installation.database, installation.world.environment("cp-1"))
        catalogue = Catalogue(store)
        await catalogue.load()
        with pytest.raises(IdentityError, match="there is no GlobalSecret"):
            read_secrets(catalogue, [], key_type=KeyType.ED25519)
        damaged = secret(global_secret(CONTROL_PLANE_CA), b"-----BEGIN")
        await catalogue.write([Put(resource=damaged)], by="test", origin=Origin.CONTROL_PLANE)
        with pytest.raises(IdentityError):
            read_secrets(await installation.start(), [], key_type=KeyType.ED25519)

    trio.run(test, clock=MockClock(autojump_threshold=0))
