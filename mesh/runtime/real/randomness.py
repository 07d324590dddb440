"""Chance from the operating system, or from a seed where a test wants it repeatable."""

import os
import random

from mesh.model.randomness import Random, stream_seed


class SystemRandomness:
    """Keyed streams; see `mesh.model.randomness.Randomness`. Good for jitter, sampling and ids, not for keys."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = int.from_bytes(os.urandom(16)) if seed is None else seed
        self._streams: dict[tuple[str | int, ...], random.Random] = {}

    def stream(self, *key: str | int) -> Random:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = random.Random(stream_seed(self._seed, key))
        return stream
