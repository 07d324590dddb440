"""What an installation begins with: made once, agreed on by all, and taken over from the files of older versions."""

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from memory_store import SharedDatabase, open_store, same_key
from memory_world import MemoryWorld
from trio.testing import MockClock

from mesh.control.bootstrap import read_secrets
from mesh.control.catalogue import Catalogue, Origin
from mesh.control.first_start import OLD_AUTHORITY, OLD_TOKEN_KEY, FirstStart
from mesh.control.initial_resources import ADMIN_TOKEN, CONTROL_PLANE_CA, global_secret
from mesh.control.store.values import Delete, Put
from mesh.discovery.control_plane_tls import CONTROL_PLANE_TRUST_DOMAIN
from mesh.identity.authority import Authority
from mesh.identity.certificate import KeyType
from mesh.identity.token_authority import TokenAuthority
from mesh.identity.tokens import SigningKey, issue_dataplane_token
from mesh.model.errors import ConfigError, IdentityError
from mesh.resources.loading import load_resource
from mesh.resources.secret import Secret


@attrs.define(eq=False)
class Installation:
    world: MemoryWorld = attrs.field(factory=MemoryWorld)
    database: SharedDatabase = attrs.field(factory=SharedDatabase)

    async def start(self, host: str = "cp-1") -> Catalogue:
        """Start a control plane's catalogue as far as its first start."""
        env = self.world.environment(host)
        catalogue = Catalogue(await open_store(self.database, env), new_mesh_key=same_key)
        await catalogue.load()
        first = FirstStart(env=env, catalogue=catalogue, key_type=KeyType.ED25519, new_signing_key=same_key)
        await first.run()
        return catalogue

    def tokens(self, catalogue: Catalogue) -> TokenAuthority:
        secrets = [*catalogue.list("Secret"), *catalogue.list("GlobalSecret")]
        return TokenAuthority({stored.key: stored.resource.spec_as(Secret).data for stored in secrets})


def test(body: Callable[[Installation], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        trio.run(body, Installation(), clock=MockClock(autojump_threshold=0))

    run.__name__, run.__doc__ = body.__name__, body.__doc__
    return run


test.__test__ = False  # type: ignore[attr-defined]  # a decorator


@test
async def test_everything_is_made_in_one_transaction(installation: Installation) -> None:
    catalogue = await installation.start()
    assert catalogue.revision == 1
    assert [stored.resource.name for stored in catalogue.list("GlobalSecret")] == [
        ADMIN_TOKEN,
        CONTROL_PLANE_CA,
        "user-token-signing-key-1",
        "zone-token-signing-key-1",
    ]
    assert catalogue.meshes() == ("default",) and len(catalogue.list("HostnameGenerator")) == 4
    token = catalogue.get(global_secret(ADMIN_TOKEN))
    assert token is not None
    now = installation.world.environment("cp-1").wall_clock()
    claims = installation.tokens(catalogue).verify_user(token.resource.spec_as(Secret).data.decode(), now=now)
    assert claims.groups == ("mesh-system:admin",)


@test
async def test_later_starts_bring_back_only_what_cannot_be_gone_without(installation: Installation) -> None:
    catalogue = await installation.start()
    secrets = read_secrets(catalogue, ["cp.local"], key_type=KeyType.ED25519)
    rotated = load_resource(
        {
            "type": "GlobalSecret",
            "name": "user-token-signing-key-2",
            "data": catalogue.list("GlobalSecret")[2].resource.written["data"],
        },
        file="test",
    )
    gone = [
        ("GlobalSecret", "", "user-token-signing-key-1"),
        ("GlobalSecret", "", "zone-token-signing-key-1"),
        ("GlobalSecret", "", ADMIN_TOKEN),
        ("HostnameGenerator", "", "local-mesh-external-service"),
        ("Mesh", "", "default"),
    ]
    changes = [Put(resource=rotated), *(Delete(key=key) for key in gone)]
    with pytest.raises(ConfigError, match="it is the last signing key for zone tokens"):
        await catalogue.write(changes, by="jo")
    await catalogue.write(changes, by="a broken store", origin=Origin.CONTROL_PLANE)
    again = await installation.start()
    assert [stored.resource.name for stored in again.list("GlobalSecret")] == [
        CONTROL_PLANE_CA,
        "user-token-signing-key-2",
        "zone-token-signing-key-1",
    ]
    assert again.meshes() == () and len(again.list("HostnameGenerator")) == 3
    assert read_secrets(again, [], key_type=KeyType.ED25519).cluster_id == secrets.cluster_id


@test
async def test_control_planes_that_start_at_once_agree(installation: Installation) -> None:
    started: list[Catalogue] = []

    async def start(host: str) -> None:
        started.append(await installation.start(host))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(start, f"cp-{number}")
    for catalogue in started:
        await catalogue.refresh()
    assert len({catalogue.revision for catalogue in started}) == 1
    pems = {read_secrets(catalogue, [], key_type=KeyType.ED25519).ca_pem for catalogue in started}
    assert len(pems) == 1
    assert len(installation.world.named("installation.prepared")) == 1


@test
async def test_keys_of_an_older_version_are_taken_over(installation: Installation) -> None:
    env = installation.world.environment("cp-1")
    old = Authority.create(
        CONTROL_PLANE_TRUST_DOMAIN,
        now=env.wall_clock(),
        serial_random=env.randomness.stream("test"),
        key_type=KeyType.ED25519,
    )
    key = SigningKey.create(1)
    await env.disk.write(OLD_AUTHORITY, old.encode().encode())
    await env.disk.write(OLD_TOKEN_KEY, key.encode().encode())
    catalogue = await installation.start()
    assert read_secrets(catalogue, [], key_type=KeyType.ED25519).ca_pem == old.root_pem
    mesh = load_resource({"type": "Mesh", "name": "shop"}, file="test")
    await catalogue.write([Put(resource=mesh)], by="files", origin=Origin.FILES)
    now, random = env.wall_clock(), env.randomness.stream("test")
    for name in ("default", "shop"):
        token = issue_dataplane_token(key, mesh=name, name="web-1", lifetime_s=60.0, now=now, random=random)
        installation.tokens(catalogue).verify_dataplane(token, now=now, mesh=name, name="web-1")
    assert len(installation.world.named("installation.key_taken_over")) == 2


@pytest.mark.parametrize("path", [OLD_AUTHORITY, OLD_TOKEN_KEY])
def test_damaged_key_of_an_older_version_stops_the_start(path: str) -> None:
    async def body() -> None:
        installation = Installation()
        await installation.world.environment("cp-1").disk.write(path, b"-----BEGIN")
        with pytest.raises(IdentityError):
            await installation.start()

    trio.run(body, clock=MockClock(autojump_threshold=0))
