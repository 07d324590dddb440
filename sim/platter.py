"""The platter of a simulated disk: what outlives a host's incarnations.

Every change is seen by readers at once and stands in a journal until a `sync` of its path. `sync(path)` makes the
file's bytes durable, and each earlier rename or deletion that concerns the path. A power cut keeps a random beginning of
the rest of the journal, as a journalling file system does, but the bytes of each unsynced write may be cut at
any length even where a later rename survived: write, sync, rename, sync is the only safe order. A rename is
atomic: after a crash a path holds the old file or the new one, never a mixture of both.
Writes inside a file (a database's) keep no order at all: each unsynced one may survive, be torn or be lost by itself.

Faults: it may be slow, full, broken, or lie about what it has synced.
"""

import errno
import posixpath
from collections.abc import Callable

import attrs

from mesh.model.randomness import Random
from sim.disk_changes import Change, Delete, Files, Rename, Truncate, Write, WriteAt


class Platter:
    """What outlives the host's incarnations: durable files, and the journal of changes that are not durable yet."""

    def __init__(self, *, capacity_bytes: int = 1 << 40, sync_s: float = 0.0005) -> None:
        self.capacity_bytes = capacity_bytes
        self.sync_s = sync_s  # how long a sync takes
        self.broken = False  # every operation fails with EIO while set
        self.lies = False  # a sync says that it is done, and does nothing
        self.delays: list[Callable[[], float]] = []  # each draws by how much a read or sync takes longer
        self.on_change: Callable[[], None] | None = None  # told of each change that is not synced yet
        self.waited = 0  # reads and syncs that took longer
        self.refused = 0  # changes for which there was no room
        self.spoilt = 0  # changes that power cuts took, whole or in part
        self._fills: list[int] = []  # how much each of those who fill the disk leaves us
        self.seen: Files = {}  # as readers see them
        self._durable: Files = {}
        self._journal: list[Change] = []

    @property
    def files(self) -> dict[str, bytes]:
        """Return a copy of the files, as readers see them."""
        return {path: bytes(data) for path, data in self.seen.items()}

    @property
    def used_bytes(self) -> int:
        """Count the bytes of all files."""
        return sum(map(len, self.seen.values()))

    @property
    def _room_bytes(self) -> int:
        return min([self.capacity_bytes, *self._fills])

    def read_takes_s(self) -> float:
        """Return how long a read takes: nothing, from the cache, where the disk is well."""
        if not self.delays:
            return 0.0
        self.waited += 1
        return sum(draw() for draw in self.delays)

    def sync_takes_s(self) -> float:
        """Return how long a sync takes."""
        return self.sync_s + self.read_takes_s()

    def fill(self, *, free_bytes: int) -> Callable[[], None]:
        """Let others take all room but this; return how to take it back."""
        fill = self.used_bytes + free_bytes
        self._fills.append(fill)
        return lambda: self._fills.remove(fill)

    def change(self, change: Change) -> None:
        """Make a change that a crash may undo."""
        self.show(change)
        self.record(change)

    def show(self, change: Change) -> None:
        """Make readers see a change that `record` will bring to the disk later; nothing of it outlives a crash before."""
        growth_bytes = change.growth_bytes(self.seen)
        if growth_bytes > 0 and self.used_bytes + growth_bytes > self._room_bytes:
            self.refused += 1
            raise OSError(errno.ENOSPC, "no space left on the simulated disk", change.path)
        change.apply(self.seen)

    def record(self, change: Change) -> None:
        """Bring a change that was shown to the disk, where a crash may undo it until it is synced."""
        self._journal.append(change)
        if self.on_change is not None:
            self.on_change()

    def sync(self, path: str) -> None:
        """Make a path durable, with what led to it."""
        if self.lies:
            return
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

    def crash(self, random: Random, *, spares_writes: bool = True) -> None:
        """Lose power: keep what is durable and, by chance, some of what is not; of writes nothing whole, unless spared."""
        kept = random.randrange(len(self._journal) + 1)
        survival = random.random()  # of each write inside a file: from nearly all to nearly none
        for index, change in enumerate(self._journal):
            left = _left_of(change, random, in_order=index < kept, survival=survival if spares_writes else 0.0)
            if not spares_writes and left is not None:
                left = _surely_torn(left, change, random)
            if left is not None:
                left.apply(self._durable)
            self.spoilt += left is not change
        self._journal.clear()
        self.seen = {path: bytearray(data) for path, data in self._durable.items()}

    def forget_unwritten(self) -> None:
        """End the processes that wrote: the operating system keeps what they handed over, synced or not."""
        self.seen = {path: bytearray(data) for path, data in self._durable.items()}
        for change in self._journal:
            change.apply(self.seen)

    def wipe(self) -> None:
        """Be an empty disk."""
        self._durable.clear()
        self._journal.clear()
        self.seen = {}


def _left_of(change: Change, random: Random, *, in_order: bool, survival: float) -> Change | None:
    """Return what of an unsynced change a power cut leaves. `in_order`: all before it are left, too."""
    match change:
        case Rename() | Delete():
            return change if in_order else None
        case Write():
            if not in_order:
                return None
            return change.torn(random) if random.random() < 0.5 else change
        case WriteAt():
            if random.random() < survival:
                return change
            return change.torn(random) if random.random() < 0.5 else None
        case Truncate():
            return change if random.random() < survival else None


def _surely_torn(left: Change, whole: Change, random: Random) -> Change:
    if isinstance(left, Write | WriteAt) and isinstance(whole, Write | WriteAt) and len(left.data) == len(whole.data):
        return attrs.evolve(left, data=left.data[: random.randrange(max(1, len(left.data)))])
    return left
