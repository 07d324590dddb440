"""A share of the requests all carry one value of a header: everybody looks at the same thing."""

from mesh.model.randomness import Random


class HotKey:
    """Replaces a header in complete header lines. `hits` counts the requests that got it."""

    def __init__(self, name: str, value: str, share: float, random: Random) -> None:
        self.hits = 0
        self._name = f"{name}:".encode()
        self._line = f"{name}: {value}\r\n".encode()
        self._share = share
        self._random = random

    def heat(self, lines: bytes) -> bytes:
        """Return the lines of one request, perhaps with the hot value instead of the one that they have."""
        if self._random.random() >= self._share:
            return lines
        self.hits += 1
        kept = [line for line in lines.splitlines(keepends=True) if not line.startswith(self._name)]
        return b"".join((*kept, self._line))
