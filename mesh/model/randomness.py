"""Chance as an argument: the part of `random.Random` that our code uses, and streams keyed by what they are for.

Each stream is seeded from a hash of (seed, key), so that adding a host, a fault or a log line leaves all other
draws alone. Source: reference implementation idea in namazu (hash of seed and hint); FoundationDB draws from one stream.
"""

import hashlib
from typing import Protocol


class Random(Protocol):
    """The draws that policies and actors use; `random.Random` fits."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float, /) -> float: ...
    def randrange(self, stop: int, /) -> int: ...
    def getrandbits(self, k: int, /) -> int: ...
    def expovariate(self, lambd: float, /) -> float: ...
    def lognormvariate(self, mu: float, sigma: float, /) -> float: ...
    def randbytes(self, n: int, /) -> bytes: ...


class Randomness(Protocol):
    """Where streams of chance come from."""

    def stream(self, *key: str | int) -> Random:
        """Return the stream named by `key`, the same object for the same key."""
        ...


def stream_seed(seed: int, key: tuple[str | int, ...]) -> int:
    """Derive the 128-bit seed of one stream; the same on any machine and under any PYTHONHASHSEED."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *key))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
