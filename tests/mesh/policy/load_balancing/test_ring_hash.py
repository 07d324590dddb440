"""Ring hash: balance, and who moves when somebody leaves. That it is Envoy's ring is for test_hashing_against_envoy."""

import itertools
import random

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing import HashFunction, LoadBalancing
from mesh.policy.load_balancing.murmur_hash import murmur_hash_2
from mesh.policy.load_balancing.ring_hash import HashRing, point_counts

TOP = (1 << 64) - 1
GENERATOR = random.Random(1)
KEYS = [GENERATOR.getrandbits(64) for _ in range(2000)]


def ring_of(labels: list[str], weights: list[int] | None = None, config: LoadBalancing | None = None) -> HashRing:
    weights = weights or [1] * len(labels)
    return HashRing(config or LoadBalancing(), labels, [weight / sum(weights) for weight in weights])


def naive_owner(labels: list[str], count: int, key: int, attempt: int) -> int:
    points = sorted(
        (xxhash.xxh64_intdigest(f"{label}_{number}".encode()), index)
        for index, label in enumerate(labels)
        for number in range(count)
    )
    at = next((place for place, (point, _) in enumerate(points) if point >= key), 0)
    return points[(at + attempt) % len(points)][1]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.sampled_from([0, 1, TOP, *KEYS[:20]]), st.integers(0, 40))
def test_a_key_belongs_to_the_next_point(count: int, key: int, attempt: int) -> None:
    labels = [f"10.0.0.{index}:80" for index in range(count)]
    ring = ring_of(labels, config=LoadBalancing(ring_size_min=6 * count))
    assert ring.find(key, attempt) == naive_owner(labels, 6, key, attempt)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_a_removed_host_moves_only_its_own_keys(count: int, generator: random.Random) -> None:
    labels = [f"10.0.{generator.randrange(256)}.{index}:80" for index in range(count)]
    left = [label for label in labels if label != labels[0]]
    # The same points for those that stay: the size is a multiple of both counts of hosts.
    before = ring_of(labels, config=LoadBalancing(ring_size_min=100 * count))
    after = ring_of(left, config=LoadBalancing(ring_size_min=100 * len(left)))
    for key in KEYS[:300]:
        owner = labels[before.find(key)]
        assert owner == labels[0] or left[after.find(key)] == owner


def test_shares_stay_near_the_weights() -> None:
    weights = [1, 2, 3, 4]
    ring = ring_of([f"10.0.0.{index}:80" for index in range(4)], weights)
    counts = [0] * 4
    for key in KEYS:
        counts[ring.find(key)] += 1
    for weight, count in zip(weights, counts, strict=True):
        assert count / len(KEYS) == pytest.approx(weight / 10, rel=0.35)


@pytest.mark.parametrize(
    ("weights", "least", "most", "counts"),
    [
        ([1, 1, 1], 1024, 8_388_608, [342, 342, 342]),  # ceil(341.3) each
        ([1, 1, 1, 1], 6, 6, [2, 1, 2, 1]),  # as in Envoy's comment: fractions are carried on
        ([1, 3], 100, 8_388_608, [25, 75]),
        ([1, 999], 10, 8_388_608, [1, 999]),  # the lightest has one point at least ...
        ([1, 999], 10, 500, [1, 499]),  # ... unless the ring gets too large
        ([5], 1024, 8_388_608, [1024]),
    ],
)
def test_points_by_weight(weights: list[int], least: int, most: int, counts: list[int]) -> None:
    assert point_counts([weight / sum(weights) for weight in weights], least, most) == counts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 2000))
def test_points_are_shares_of_the_ring_but_for_one(weights: list[int], least: int) -> None:
    counts = point_counts([weight / sum(weights) for weight in weights], least, 1 << 23)
    assert sum(counts) >= least
    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - sum(counts) * weight / sum(weights)) <= 2


@pytest.mark.parametrize(
    ("data", "value"),
    # What libstdc++'s std::hash<std::string> gives on 64 bits; in Envoy's own tests of its hash.
    [(b"foo", 9631199822919835226), (b"bar", 11474628671133349555), (b"", 6142509188972423790)],
)
def test_murmur_hash_is_the_standard_librarys(data: bytes, value: int) -> None:
    assert murmur_hash_2(data) == value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_murmur_hash_has_64_bits_and_tells_tails_apart(data: bytes) -> None:
    hashes = [murmur_hash_2(data + tail) for tail in (b"", b"\0", b"\1", b"\0\0")]
    assert all(0 <= value <= TOP for value in hashes)
    assert all(one != other for one, other in itertools.combinations(hashes, 2))


def test_a_ring_of_the_other_function_is_another_ring() -> None:
    labels = [f"10.0.0.{index}:80" for index in range(5)]
    one, other = ring_of(labels), ring_of(labels, config=LoadBalancing(hash_function=HashFunction.MURMUR_HASH_2))
    assert sum(one.find(key) == other.find(key) for key in KEYS) < len(KEYS) / 2
