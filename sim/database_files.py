"""The file system under SQLite in simulation: files of one platter, changes noted as steps for later.

Readers, SQLite first of all, see each change at once. Locks are none: one connection has the file for itself.
Chance and dates are the host's. Source: sqlite.org/c3ref/vfs.html, io_methods.html.
"""

from collections.abc import Callable
from typing import Any

import apsw
import attrs

from mesh.model.randomness import Random
from sim.disk_changes import Change, Delete, Truncate, Write, WriteAt
from sim.platter import Platter

_UNIX_EPOCH_JULIAN_DAYS = 2440587.5
_SECTOR_BYTES = 4096


@attrs.frozen(eq=False)
class Sync:
    """Wait for the device to have what was written to a path; for a new file, what was deleted beside it too."""

    path: str
    is_new: bool


Step = Change | Sync


class PlatterVfs(apsw.VFS):
    """One connection's files. `steps` gets what is done to them, in order; `check` raises OSError when the disk fails."""

    def __init__(
        self,
        name: str,
        platter: Platter,
        steps: list[Step],
        *,
        check: Callable[[], None],
        random: Random,
        wall_clock: Callable[[], float],
    ) -> None:
        self.vfs_name = name
        self.platter = platter
        self._steps = steps
        self._check = check
        self._random = random
        self._wall_clock = wall_clock
        self._new_paths: set[str] = set()
        super().__init__(name, iVersion=2)

    def check(self) -> None:
        """Raises: apsw.IOError when the disk does not work."""
        try:
            self._check()
        except OSError as error:
            raise apsw.IOError(error.strerror) from error

    def change(self, change: Change) -> None:
        """Show a change to readers and note it. Raises: apsw.IOError, apsw.FullError."""
        self.check()
        try:
            self.platter.show(change)
        except OSError as error:  # ENOSPC, the only one.
            raise apsw.FullError(error.strerror) from error
        self._steps.append(change)

    def sync(self, path: str) -> None:
        """Note that SQLite waits for the device here. Raises: apsw.IOError."""
        self.check()
        self._steps.append(Sync(path, path in self._new_paths))
        self._new_paths.discard(path)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        assert path is not None, "temporary files are kept in memory"
        if path not in self.platter.seen:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError("no such file on the simulated disk")
            self.change(Write(path, b""))
            # As on Unix: the first sync of a file that SQLite made is followed by one of its folder. Source: os_unix.c, unixSync.
            self._new_paths.add(path)
        flags[1] = flags[0]
        return PlatterFile(self, path)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.change(Delete(filename))
        if syncdir:
            self.sync(filename)

    def xAccess(self, pathname: str, flags: int) -> bool:
        return pathname in self.platter.seen

    def xFullPathname(self, name: str) -> str:
        return name

    def xRandomness(self, numbytes: int) -> bytes:
        return self._random.randbytes(numbytes)

    def xSleep(self, microseconds: int) -> int:
        return microseconds  # Nobody else holds a lock that one could wait for.

    def xCurrentTime(self) -> float:
        return self._wall_clock() / 86400 + _UNIX_EPOCH_JULIAN_DAYS

    def xCurrentTimeInt64(self) -> int:
        return int(self._wall_clock() * 1000) + int(_UNIX_EPOCH_JULIAN_DAYS * 86400_000)

    def xGetLastError(self) -> tuple[int, str | None]:
        return 0, None


class PlatterFile:
    """One open file; the methods are SQLite's."""

    def __init__(self, vfs: PlatterVfs, path: str) -> None:
        self._vfs = vfs
        self._path = path

    def _bytes(self) -> bytearray:
        self._vfs.check()
        try:
            return self._vfs.platter.seen[self._path]
        except KeyError:
            raise apsw.IOError("the file was removed from the simulated disk") from None

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._bytes()[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.change(WriteAt(self._path, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._vfs.change(Truncate(self._path, newsize))

    def xSync(self, flags: int) -> None:
        self._vfs.sync(self._path)

    def xFileSize(self) -> int:
        return len(self._bytes())

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return _SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        # As SQLite assumes on Unix: a torn write leaves the bytes beside it alone.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None:
        pass
