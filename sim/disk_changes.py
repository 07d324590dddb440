"""What can happen to the files of a simulated disk, as values that can be applied, journalled, torn and lost."""

import attrs

from mesh.model.randomness import Random

Files = dict[str, bytearray]


@attrs.frozen(eq=False)
class Write:
    """Replace a whole file."""

    path: str
    data: bytes
    source: None = None

    def apply(self, files: Files) -> None:
        """Do it."""
        files[self.path] = bytearray(self.data)

    def growth_bytes(self, files: Files) -> int:
        """Return how much room it takes."""
        return len(self.data) - len(files.get(self.path, b""))

    def torn(self, random: Random) -> "Write":
        """Return it with its bytes cut at any length."""
        return attrs.evolve(self, data=self.data[: random.randrange(len(self.data) + 1)])


@attrs.frozen(eq=False)
class WriteAt:
    """Replace some bytes of a file in place; a gap before them reads as zeros."""

    path: str
    offset: int
    data: bytes
    source: None = None

    def apply(self, files: Files) -> None:
        """Do it; nothing where the file is not there (its creation was lost)."""
        file = files.get(self.path)
        if file is not None:
            if len(file) < self.offset:
                file.extend(bytes(self.offset - len(file)))
            file[self.offset : self.offset + len(self.data)] = self.data

    def growth_bytes(self, files: Files) -> int:
        """Return how much room it takes."""
        return max(0, self.offset + len(self.data) - len(files.get(self.path, b"")))

    def torn(self, random: Random) -> "WriteAt":
        """Return it with its bytes cut at any length: what it did not reach stays as it was."""
        return attrs.evolve(self, data=self.data[: random.randrange(len(self.data) + 1)])


@attrs.frozen(eq=False)
class Truncate:
    """Shorten a file, or lengthen it by zeros."""

    path: str
    size: int
    source: None = None

    def apply(self, files: Files) -> None:
        """Do it; nothing where the file is not there."""
        file = files.get(self.path)
        if file is not None:
            del file[self.size :]
            file.extend(bytes(self.size - len(file)))

    def growth_bytes(self, files: Files) -> int:
        """Return how much room it takes."""
        return max(0, self.size - len(files.get(self.path, b"")))

    def torn(self, random: Random) -> "Truncate":
        """Return itself: a file has one length or another."""
        return self


@attrs.frozen(eq=False)
class Rename:
    """Move a file, replacing the target."""

    source: str
    path: str

    def apply(self, files: Files) -> None:
        """Do it."""
        if self.source in files:
            # Otherwise the source never reached the platter, and the rename has nothing to move.
            files[self.path] = files.pop(self.source)

    def growth_bytes(self, files: Files) -> int:
        """Return how much room it takes: none."""
        return 0


@attrs.frozen(eq=False)
class Delete:
    """Remove a file."""

    path: str
    source: None = None

    def apply(self, files: Files) -> None:
        """Do it."""
        files.pop(self.path, None)

    def growth_bytes(self, files: Files) -> int:
        """Return how much room it takes: none."""
        return 0


Change = Write | WriteAt | Truncate | Rename | Delete
