"""The disk of one simulated host: it survives a restart, but what was not synced may be lost or torn.

Every change is seen by readers at once and stands in a journal until a `sync` of its path. `sync(path)` makes the
file's bytes durable, and each earlier rename or deletion that concerns the path. A power cut keeps a random beginning of
the rest of the journal, as a journalling file system does, but the bytes of each unsynced write may be cut at
any length even where a later rename survived: write, sync, rename, sync is the only safe order. A rename is
atomic: after a crash a path holds the old file or the new one, never a mixture of both.
Disks have latency and capacity, and may break; bytes never rot here.
"""

import errno
from collections.abc import Sequence

import attrs
import trio

from mesh.model.randomness import Random


@attrs.frozen(eq=False)
class _Change:
    """One unsynced step: a write (data), a rename (source) or a deletion (neither)."""

    path: str
    data: bytes | None = None
    source: str | None = None

    def apply(self, files: dict[str, bytes]) -> None:
        if self.data is not None:
            files[self.path] = self.data
        elif self.source is None:
            files.pop(self.path, None)
        elif self.source in files:
            # Otherwise the source never reached the platter, and the rename has nothing to move.
            files[self.path] = files.pop(self.source)


class Platter:
    """What outlives the host's incarnations: durable files, and the journal of changes that are not durable yet."""

    def __init__(self, *, capacity_bytes: int = 1 << 40, sync_s: float = 0.0005) -> None:
        self.capacity_bytes = capacity_bytes
        self.sync_s = sync_s  # how long a sync takes
        self.broken = False  # every operation fails with EIO while set
        self.files: dict[str, bytes] = {}  # as readers see them
        self._durable: dict[str, bytes] = {}
        self._journal: list[_Change] = []

    def change(self, change: _Change) -> None:
        """Make a change that a crash may undo."""
        if change.data is not None:
            used_bytes = sum(len(data) for path, data in self.files.items() if path != change.path)
            if used_bytes + len(change.data) > self.capacity_bytes:
                raise OSError(errno.ENOSPC, "no space left on the simulated disk", change.path)
        change.apply(self.files)
        self._journal.append(change)

    def sync(self, path: str) -> None:
        """Make a path durable, with what led to it."""
        concerned = {path}
        synced: list[_Change] = []
        kept: list[_Change] = []
        for change in reversed(self._journal):
            if change.path in concerned or change.source in concerned:
                concerned.update(name for name in (change.path, change.source) if name is not None)
                synced.append(change)
            else:
                kept.append(change)
        for change in reversed(synced):
            change.apply(self._durable)
        self._journal = kept[::-1]

    def crash(self, random: Random) -> None:
        """Lose power: keep what is durable and, by chance, a beginning of what is not."""
        for change in self._journal[: random.randrange(len(self._journal) + 1)]:
            if change.data is not None and random.random() < 0.5:
                change = attrs.evolve(change, data=change.data[: random.randrange(len(change.data) + 1)])
            change.apply(self._durable)
        self._journal.clear()
        self.files = dict(self._durable)


class SimDisk:
    """One incarnation's hold on its host's platter; implements `mesh.runtime.environment.Disk`."""

    def __init__(self, platter: Platter) -> None:
        self._platter = platter
        self._cut = False

    def cut(self) -> None:
        """Refuse everything from now on: the clean-up of a host that lost power must not reach the platter."""
        self._cut = True

    async def read(self, path: str) -> bytes:
        """Return the file's bytes as last written."""
        await self._wait(0)
        return self._existing(path)

    async def write(self, path: str, data: bytes) -> None:
        """Replace the file's bytes."""
        await self._wait(0)
        self._platter.change(_Change(path, data=bytes(data)))

    async def sync(self, path: str) -> None:
        """Make the path durable."""
        await self._wait(self._platter.sync_s)
        self._existing(path)
        self._platter.sync(path)

    async def rename(self, source: str, target: str) -> None:
        """Move a file, replacing the target."""
        await self._wait(0)
        self._existing(source)
        if source != target:
            self._platter.change(_Change(target, source=source))

    async def delete(self, path: str) -> None:
        """Remove a file."""
        await self._wait(0)
        self._existing(path)
        self._platter.change(_Change(path))

    async def list(self, folder: str) -> Sequence[str]:
        """Return the paths of the files below a folder, sorted."""
        await self._wait(0)
        folder = folder.strip("/")
        prefix = "" if folder in ("", ".") else f"{folder}/"
        return sorted(path for path in self._platter.files if path.startswith(prefix))

    def _existing(self, path: str) -> bytes:
        try:
            return self._platter.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file on the simulated disk", path) from None

    async def _wait(self, seconds: float) -> None:
        await trio.sleep(seconds)
        if self._cut:
            raise OSError(errno.EIO, "the simulated host has lost its power")
        if self._platter.broken:
            raise OSError(errno.EIO, "the simulated disk is broken")
