import base64
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.control.store.sealing import (
    CannotOpen,
    Sealer,
    create_key,
    decode_keys,
    encode_keys,
    load_or_create_key,
    load_sealer,
)
from mesh.control.store.values import Put
from mesh.model.errors import ConfigError
from mesh.resources.loading import load_resource
from mesh.runtime.real.disk import RealDisk
from tests.mesh.control.store.store_world import KEY, StoreWorld, secret, sqlite_world

OTHER_KEY = bytes(reversed(range(32)))
PLACE = ("Secret", "default", "s")


@given(data=st.binary(max_size=200), place=st.tuples(st.text(), st.text()))
@settings(max_examples=50, deadline=None)
def test_what_was_sealed_is_opened(data: bytes, place: tuple[str, str]) -> None:
    sealed = Sealer(KEY).seal(data, place=place)
    assert Sealer(KEY).open(sealed, place=place) == data
    assert len(sealed) == len(data) + 37
    assert len(data) < 4 or data not in sealed


@given(position=st.integers(0, 40), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_changed_bit_is_noticed(position: int, bit: int) -> None:
    sealed = bytearray(Sealer(KEY).seal(b"data", place=PLACE))
    sealed[position] ^= 1 << bit
    with pytest.raises(CannotOpen):
        Sealer(KEY).open(bytes(sealed), place=PLACE)


def test_a_secret_cannot_be_moved_or_opened_with_another_key() -> None:
    sealed = Sealer(KEY).seal(b"data", place=PLACE)
    with pytest.raises(CannotOpen, match="belong elsewhere"):
        Sealer(KEY).open(sealed, place=("Secret", "default", "t"))
    with pytest.raises(CannotOpen, match="another key"):
        Sealer(OTHER_KEY).open(sealed, place=PLACE)
    for garbage in (b"", b"\x01", sealed[:21], sealed[:30]):
        with pytest.raises(CannotOpen):
            Sealer(KEY).open(garbage, place=PLACE)


def test_equal_nonces_mean_equal_messages() -> None:
    sealer = Sealer(KEY)
    sealed = [sealer.seal(data, place=(place,)) for data in (b"a", b"b") for place in "xy"]
    assert len({item[9:21] for item in sealed}) == 4
    assert sealer.seal(b"a", place=("x",)) == sealed[0]


def test_the_first_key_seals_and_all_open() -> None:
    old = Sealer(KEY).seal(b"data", place=PLACE)
    both = Sealer(OTHER_KEY, KEY)
    assert both.open(old, place=PLACE) == b"data"
    assert not both.is_current(old)
    new = both.seal(b"data", place=PLACE)
    assert both.is_current(new)
    assert Sealer(OTHER_KEY).open(new, place=PLACE) == b"data"
    assert repr(both) == "<Sealer with 2 keys>"


def test_a_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    env: Any = SimpleNamespace(disk=RealDisk(str(tmp_path)))

    async def body() -> None:
        key = await load_or_create_key(env, "keys/sealing.key")
        assert await load_or_create_key(env, "keys/sealing.key") == key
        sealed = Sealer(key).seal(b"data", place=PLACE)
        place = tmp_path / "keys" / "sealing.key"
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert base64.b64decode(place.read_text()) == key
        place.write_bytes(encode_keys((create_key(), key)))
        rotated = await load_sealer(env, "keys/sealing.key")
        assert rotated.open(sealed, place=PLACE) == b"data"
        assert not rotated.is_current(sealed)

    trio.run(body)


@pytest.mark.parametrize("content", [b"", b"not base64!", base64.b64encode(b"tell-nobody"), encode_keys((KEY,) * 17)])
def test_a_damaged_key_file_is_named_and_not_quoted(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"keys/sealing\.key: is not a sealing key") as caught:
        decode_keys(content, path="keys/sealing.key")
    assert content.decode() not in str(caught.value) or not content


def test_a_store_refuses_another_key(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=secret("s"))], by="alice")
        await store.aclose()
        database = await world.database()
        with pytest.raises(ConfigError, match="sealing key is not the one"):
            await world.store_on(database, Sealer(OTHER_KEY))
        with pytest.raises(ConfigError, match="sealing key is not the one"):
            await world.store_on(database, Sealer(OTHER_KEY), read_only=True)

    world.run(body)


def test_a_new_key_in_front_seals_everything_again(world: StoreWorld) -> None:
    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=secret("s")), Put(resource=secret("t"))], by="alice")
        await store.aclose()
        await (await world.store(Sealer(OTHER_KEY, KEY))).aclose()
        assert [entry["secrets"] for entry in world.logged.entries if entry["event"] == "store.resealed"] == [2]
        rotated = await world.store(Sealer(OTHER_KEY))
        stored, revision = await rotated.load()
        assert [item.resource.written["data"] for item in stored] == ["aHVudGVyMg=="] * 2
        assert (revision, {item.version for item in stored}) == (1, {1})

    world.run(body)


def test_a_key_written_into_a_resource_stands_nowhere_in_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    world = sqlite_world(folder)
    inline = {"type": "InsecureInline", "insecureInline": {"value": "very-private-key"}}
    document = {
        "type": "MeshExternalService",
        "mesh": "default",
        "name": "bank",
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 443, "protocol": "tcp"},
            "endpoints": [{"address": "192.0.2.1", "port": 443}],
            "tls": {"enabled": True, "verification": {"clientCert": inline, "clientKey": inline}},
        },
    }
    resource = load_resource(document, file="test")

    async def body() -> None:
        store = await world.store()
        await store.write([Put(resource=resource)], by="alice")
        (stored,), _ = await store.load()
        assert stored.resource.written == resource.written and stored.resource.spec == resource.spec
        files = [path.read_bytes() for path in sorted(folder.iterdir())]
        assert any(b"bank" in content for content in files)
        assert not any(b"very-private-key" in content for content in files)

    world.run(body)
