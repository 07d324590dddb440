"""The platter of a simulated disk: what outlives a host's incarnations.

Every change is seen by readers at once and stands in a journal until a `sync` of its path. `sync(path)` makes the
file's bytes durable, and each earlier rename or deletion that concerns the path. A power cut keeps a random beginning of
the rest of the journal, as a journalling file system does, but the bytes of each unsynced write may be cut at
any length even where a later rename survived: write, sync, rename, sync is the only safe order. A rename is
atomic: after a crash a path holds the old file or the new one, never a mixture of both.
Writes inside a file (a database's) keep no order at all: each unsynced one may survive, be torn or be lost by itself.
"""

import errno
import posixpath

from mesh.model.randomness import Random
from sim.disk_changes import Change, Delete, Files, Rename, Truncate, Write, WriteAt


class Platter:
    """What outlives the host's incarnations: durable files, and the journal of changes that are not durable yet."""

    def __init__(self, *, capacity_bytes: int = 1 << 40, sync_s: float = 0.0005) -> None:
        self.capacity_bytes = capacity_bytes
        self.sync_s = sync_s  # how long a sync takes
        self.broken = False  # every operation fails with EIO while set
        self.seen: Files = {}  # as readers see them
        self._durable: Files = {}
        self._journal: list[Change] = []

    @property
    def files(self) -> dict[str, bytes]:
        """Return a copy of the files, as readers see them."""
        return {path: bytes(data) for path, data in self.seen.items()}

    def change(self, change: Change) -> None:
        """Make a change that a crash may undo."""
        self.show(change)
        self.record(change)

    def show(self, change: Change) -> None:
        """Make readers see a change that `record` will bring to the disk later; nothing of it outlives a crash before."""
        growth_bytes = change.growth_bytes(self.seen)
        if growth_bytes > 0 and sum(map(len, self.seen.values())) + growth_bytes > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "no space left on the simulated disk", change.path)
        change.apply(self.seen)

    def record(self, change: Change) -> None:
        """Bring a change that was shown to the disk, where a crash may undo it until it is synced."""
        self._journal.append(change)

    def sync(self, path: str) -> None:
        """Make a path durable, with what led to it."""
        concerned = {path}
        synced: list[Change] = []
        kept: list[Change] = []
        for change in reversed(self._journal):
            if change.path in concerned or change.source in concerned:
                concerned.update(name for name in (change.path, change.source) if name is not None)
                synced.append(change)
            else:
                kept.append(change)
        for change in reversed(synced):
            change.apply(self._durable)
        self._journal = kept[::-1]

    def sync_deletions(self, folder: str) -> None:
        """Make deletions in a folder durable, as a sync of the folder itself does."""
        for change in self._journal[:]:
            if isinstance(change, Delete) and posixpath.dirname(change.path) == folder:
                self.sync(change.path)

    def crash(self, random: Random) -> None:
        """Lose power: keep what is durable and, by chance, some of what is not."""
        kept = random.randrange(len(self._journal) + 1)
        survival = random.random()  # of each write inside a file: from nearly all to nearly none
        for index, change in enumerate(self._journal):
            survives = False
            match change:
                case Rename() | Delete():
                    survives = index < kept
                case Write():
                    survives = index < kept
                    if survives:
                        change = _perhaps_torn(change, random)
                case WriteAt():
                    survives = random.random() < survival
                    if not survives and random.random() < 0.5:
                        survives, change = True, change.torn(random)
                case Truncate():
                    survives = random.random() < survival
            if survives:
                change.apply(self._durable)
        self._journal.clear()
        self.seen = {path: bytearray(data) for path, data in self._durable.items()}


def _perhaps_torn(change: Write, random: Random) -> Write:
    return change.torn(random) if random.random() < 0.5 else change
