"""Maglev: a table of prime size that its endpoints fill in turns, each in an order of its own; a request's hash is an index.

Pure. Fills its table exactly as Envoy does, so both send a key to the same endpoint.
Source: Eisenbud et al. 2016, "Maglev", section 3.4; Envoy source/extensions/load_balancing_policies/maglev/maglev_lb.cc.
"""

import functools
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence

import xxhash

_MASK = (1 << 64) - 1
_TABLES_KEPT = 8


class MaglevTable:
    """A table of indexes of `labels`, about as many of each as its weight says."""

    __slots__ = ("_owners",)

    def __init__(self, labels: Sequence[str], weights: Sequence[float], size: int) -> None:
        self._owners = _owners(tuple(labels), tuple(weights), size)

    def find(self, request_hash: int, attempt: int = 0) -> int:
        """Return the index of the label that owns `request_hash` (64 bits); a later attempt looks elsewhere."""
        if attempt:
            request_hash ^= -attempt & _MASK
        return self._owners[request_hash % len(self._owners)]


# A function of its arguments, and the slow one (30 ms for the usual size): an endpoint that is ejected and returns, and in
# simulation the many proxies that call one service, find their table made.
@functools.lru_cache(maxsize=_TABLES_KEPT)
def _owners(labels: tuple[str, ...], weights: tuple[float, ...], size: int) -> Sequence[int]:
    order = sorted(range(len(labels)), key=lambda index: labels[index].encode())
    owners = fill_table(
        [labels[index].encode() for index in order], filling_order([weights[index] for index in order], size), size
    )
    return array("I", [order[position] for position in owners])


def filling_order(weights: Sequence[float], size: int) -> list[int]:
    """Return whose turn it is, `size` times or a few more. A host sits out the rounds that would be too much for its weight.

    In round k, a host that has had n turns has one more when k x weight >= n x the largest weight. The rounds are computed
    host by host, and then sorted: one heavy host among many light ones would make rounds without number.
    """
    count, largest = len(weights), max(weights)
    if min(weights) == largest:
        return list(range(count)) * (size // count + 1)
    # By then each host has had its share of the turns and part of one more, which is enough for the table.
    last_round = math.ceil(size * largest / sum(weights)) + 1
    # Summed up as Envoy does, as the last bit of a product can decide on a turn.
    targets = [0.0, *itertools.accumulate(itertools.repeat(largest, last_round))]
    coded: list[int] = []  # round x count + index, which sorts as the rounds are gone through
    for index, weight in enumerate(weights):
        number = 0
        for target in targets:
            number += 1  # One turn a round at most.
            if number * weight < target:
                # The quotient only says where about; the products are what counts.
                number = max(int(target / weight), number)
                while number * weight < target:
                    number += 1
            if number > last_round:
                break
            coded.append(number * count + index)
    coded.sort()
    return [code % count for code in coded]


def fill_table(keys: Sequence[bytes], turns: Iterable[int], size: int) -> list[int]:
    """Return for each entry the index of the key that took it: in its turn, the first free one of its own permutation."""
    offsets = [xxhash.xxh64_intdigest(key) % size for key in keys]
    skips = [xxhash.xxh64_intdigest(key, 1) % (size - 1) + 1 for key in keys]
    entries = [-1] * size
    positions = offsets.copy()  # where each key looks next
    turn = iter(turns)
    # Towards the end nearly every entry that a key looks at is taken: then it is faster to look at the free ones.
    few = math.isqrt(size)
    for _, index in zip(range(size - few), turn, strict=False):
        position, skip = positions[index], skips[index]
        while entries[position] >= 0:
            position += skip
            if position >= size:
                position -= size
        entries[position] = index
        positions[index] = position
    _fill_the_rest(entries, offsets, skips, positions, turn)
    return entries


def _fill_the_rest(
    entries: list[int], offsets: Sequence[int], skips: Sequence[int], positions: Sequence[int], turns: Iterator[int]
) -> None:
    """Fill what is free: a key takes the free entry that comes first in its permutation, from where it has got to.

    Entry e has place (e - offset) / skip in the permutation of a key, divided modulo the size, which is prime.
    """
    size = len(entries)
    free = [position for position, index in enumerate(entries) if index < 0]
    inverses: dict[int, int] = {}
    while free:
        index = next(turns)
        inverse = inverses.get(index)
        if inverse is None:
            inverse = inverses[index] = pow(skips[index], -1, size)
        start = positions[index]
        # A key has taken or passed all places before `start`, so the nearest after it is the first of all that are free.
        nearest = min(free, key=lambda entry: (entry - start) * inverse % size)
        free.remove(nearest)
        entries[nearest] = index
