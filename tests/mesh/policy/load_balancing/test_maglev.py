"""Maglev: the paper's algorithm read off a naive loop, balance, and who moves when somebody leaves."""

import random

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.load_balancing.maglev import MaglevTable, fill_table, filling_order

SIZE = 1009
PRIMES = [2, 3, 31, 251, SIZE]


def labels_of(count: int) -> list[str]:
    return [f"10.0.{index // 256}.{index % 256}:80" for index in range(count)]


def owners_of(labels: list[str], weights: list[float], size: int) -> list[str]:
    table = MaglevTable(labels, weights, size)
    return [labels[table.find(index)] for index in range(size)]


def normalized(weights: list[int]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def naive_table(labels: list[str], weights: list[float], size: int) -> list[str]:
    """Listing 1 of the paper, with Envoy's weights: round by round, host by host, entry by entry."""
    hosts = sorted(zip(labels, weights, strict=True))
    permutations = []
    for label, _ in hosts:
        key = label.encode()
        offset, skip = xxhash.xxh64_intdigest(key) % size, xxhash.xxh64_intdigest(key, 1) % (size - 1) + 1
        permutations.append(iter([(offset + skip * place) % size for place in range(size)]))
    table: dict[int, str] = {}
    targets = [0.0] * len(hosts)
    number = 0
    while len(table) < size:
        number += 1
        for index, (label, weight) in enumerate(hosts):
            if number * weight < targets[index] or len(table) == size:
                continue
            targets[index] += max(weights)
            table[next(entry for entry in permutations[index] if entry not in table)] = label
    return [table[entry] for entry in range(size)]


weights_ = st.lists(st.one_of(st.integers(1, 10), st.integers(1, 1000)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(weights_, st.sampled_from(PRIMES), st.randoms(use_true_random=False))
def test_the_table_is_the_papers_whatever_the_order_of_hosts(
    weights: list[int], size: int, generator: random.Random
) -> None:
    labels, shares = labels_of(len(weights)), normalized(weights)
    expected = naive_table(labels, shares, size)
    assert owners_of(labels, shares, size) == expected
    shuffled = list(zip(labels, shares, strict=True))
    generator.shuffle(shuffled)
    assert owners_of([label for label, _ in shuffled], [share for _, share in shuffled], size) == expected


@settings(max_examples=60, deadline=None)
@given(weights_, st.sampled_from(PRIMES))
def test_turns_are_proportional_to_weights(weights: list[int], size: int) -> None:
    turns = filling_order(normalized(weights), size)
    assert len(turns) >= size
    for index, weight in enumerate(weights):
        # One more at most than its share of the rounds gone through: everyone has a turn in the first.
        assert abs(turns[:size].count(index) - size * weight / sum(weights)) <= len(weights)


@pytest.mark.parametrize("count", [2, 5, 20, 100])
def test_equal_hosts_have_equal_parts_but_for_one_entry(count: int) -> None:
    owners = owners_of(labels_of(count), [1.0 / count] * count, SIZE)
    counts = [owners.count(label) for label in labels_of(count)]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("count", [3, 5, 10, 50])
def test_removing_a_host_moves_little_else(count: int) -> None:
    """Section 5.3 of the paper: with a table a hundred times as large as its hosts are many, about a percent or two more."""
    labels = labels_of(count)
    size = 65_537
    before = owners_of(labels, [1.0 / count] * count, size)
    after = owners_of(labels[1:], [1.0 / (count - 1)] * (count - 1), size)
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != labels[0])
    assert moved / size < 0.25 / count + 0.02


def test_a_later_attempt_looks_elsewhere() -> None:
    labels = labels_of(5)
    table = MaglevTable(labels, [0.2] * 5, SIZE)
    mask = (1 << 64) - 1
    for key in (0, 1, 12345678901234567890, mask):
        assert table.find(key, 1) == table.find(key ^ mask)  # all bits turned over
        assert table.find(key, 2) == table.find(key ^ (mask - 1))


def test_more_hosts_than_entries_leaves_some_out() -> None:
    assert sorted(set(fill_table([label.encode() for label in labels_of(9)], range(9), 3))) == [0, 1, 2]
