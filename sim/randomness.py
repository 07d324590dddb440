"""Keyed streams of chance: one `random.Random` for each purpose, made when first drawn from."""

from random import Random

from mesh.model.randomness import stream_seed


class KeyedRandomness:
    """Streams of one run below a common prefix; implements `mesh.model.randomness.Randomness`."""

    def __init__(self, seed: int, *prefix: str | int) -> None:
        self._seed = seed
        self._prefix = prefix
        self._streams: dict[tuple[str | int, ...], Random] = {}

    def stream(self, *key: str | int) -> Random:
        """Return the stream named by `key`, the same object for the same key."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self.fresh(*key)
        return stream

    def fresh(self, *key: str | int) -> Random:
        """Make the stream named by `key` without keeping it: for keys that are used by one owner only."""
        return Random(stream_seed(self._seed, (*self._prefix, *key)))

    def under(self, *key: str | int) -> "KeyedRandomness":
        """Return the streams below a longer prefix."""
        return KeyedRandomness(self._seed, *self._prefix, *key)
