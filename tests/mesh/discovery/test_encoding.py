"""Encoded snapshots: the same version as the snapshot itself, reuse of what did not change, and damage found."""

import attrs
import pytest

from mesh.config.snapshot import Cluster, ClusterEndpoints, Endpoint, ProxyPart, Snapshot
from mesh.discovery.encoding import PartEncoder, SharedParts, from_file, of_parts, to_file
from mesh.model.errors import ConfigError
from mesh.model.names import Address

ENDPOINT = Endpoint(name="cart-1", address=Address("10.0.0.1", 80))
PROXY = ProxyPart(mesh="retail", name="web-1")
CLUSTER = Cluster(name="cart")
SNAPSHOT = Snapshot.of(PROXY, CLUSTER, ClusterEndpoints(cluster="cart", endpoints=(ENDPOINT,)))


def test_version_is_the_snapshots_own() -> None:
    encoded = PartEncoder().encode(SNAPSHOT)
    assert encoded.version == SNAPSHOT.version()
    assert encoded.decode() == SNAPSHOT
    shuffled = dict(sorted(encoded.parts.items(), reverse=True))
    assert of_parts(shuffled).version == SNAPSHOT.version()


def test_encoder_redoes_only_the_parts_that_are_other_objects() -> None:
    encoder = PartEncoder()
    first = encoder.encode(SNAPSHOT)
    changed = ClusterEndpoints(cluster="cart", endpoints=(attrs.evolve(ENDPOINT, healthy=False),))
    second = encoder.encode(Snapshot.of(PROXY, CLUSTER, changed))
    assert second.parts["cluster/cart"] is first.parts["cluster/cart"]
    assert second.parts["endpoints/cart"] != first.parts["endpoints/cart"]
    assert second.version == Snapshot.of(PROXY, CLUSTER, changed).version()


def test_parts_of_several_proxies_are_encoded_once_and_forgotten_with_the_last() -> None:
    shared = SharedParts()
    one, other = PartEncoder(shared), PartEncoder(shared)
    first = one.encode(SNAPSHOT)
    second = other.encode(Snapshot.of(attrs.evolve(PROXY, name="web-2"), CLUSTER))
    assert second.parts["cluster/cart"] is first.parts["cluster/cart"]
    assert len(shared) == 4
    one.encode(Snapshot.of(PROXY))
    assert len(shared) == 3
    del one, other
    assert len(shared) == 0


def test_part_that_is_equal_to_the_one_before_keeps_its_bytes() -> None:
    encoder = PartEncoder()
    first = encoder.encode(SNAPSHOT)
    assert encoder.encode(Snapshot.of(attrs.evolve(PROXY))).parts["proxy"] is first.parts["proxy"]


def test_file_holds_the_snapshot() -> None:
    encoded = PartEncoder().encode(SNAPSHOT)
    restored = from_file(to_file(encoded))
    assert (restored.version, dict(restored.parts)) == (encoded.version, dict(encoded.parts))


@pytest.mark.parametrize("cut", [0, 1, 20, 200])
def test_torn_file_is_found(cut: int) -> None:
    data = to_file(PartEncoder().encode(SNAPSHOT))
    with pytest.raises(ConfigError, match="damaged"):
        from_file(data[:cut])


def test_file_with_another_content_than_its_version_is_found() -> None:
    data = to_file(PartEncoder().encode(SNAPSHOT)).replace(b"10.0.0.1", b"10.0.0.2")
    with pytest.raises(ConfigError, match="damaged"):
        from_file(data)


def test_all_unreadable_parts_are_named_at_once() -> None:
    parts = {**PartEncoder().encode(SNAPSHOT).parts, "cluster/cart": b"{}", "mystery/x": b"{}", "endpoints/web": b"[]"}
    with pytest.raises(ConfigError) as caught:
        of_parts(parts).decode()
    assert {violation.path for violation in caught.value.violations} == {"cluster/cart", "mystery/x", "endpoints/web"}


def test_part_under_anothers_key_is_refused() -> None:
    parts = dict(PartEncoder().encode(SNAPSHOT).parts)
    parts["cluster/web"] = parts.pop("cluster/cart")
    with pytest.raises(ConfigError, match="cluster/cart"):
        of_parts(parts).decode()
