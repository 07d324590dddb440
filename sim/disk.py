"""The disk of one simulated host: it survives a restart, but what was not synced may be lost, torn or reordered.

`sim.platter` says what a power cut does. Disks have latency and capacity, and may break; bytes never rot here.
"""

import errno
from collections.abc import Callable, Sequence
from random import Random as SeededRandom

import trio

from mesh.model.errors import ConfigError, Violation
from mesh.model.randomness import Random
from sim.database import SimDatabase
from sim.disk_changes import Delete, Rename, Write
from sim.platter import Platter


class SimDisk:
    """One incarnation's hold on its host's platter; implements `mesh.runtime.environment.Disk`.

    `random` and `wall_clock` are for what SQLite does with chance and dates.
    """

    def __init__(
        self,
        platter: Platter,
        *,
        random: Random | None = None,
        wall_clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._platter = platter
        self._random = SeededRandom(0) if random is None else random
        self._wall_clock = wall_clock
        self._cut = False
        self._databases: dict[str, SimDatabase] = {}

    def cut(self) -> None:
        """Refuse everything from now on: the clean-up of a host that lost power must not reach the platter."""
        self._cut = True
        for database in self._databases.values():
            database.cut()

    async def read(self, path: str) -> bytes:
        """Return the file's bytes as last written."""
        await self._wait(self._platter.read_takes_s())
        return bytes(self._existing(path))

    async def write(self, path: str, data: bytes) -> None:
        """Replace the file's bytes."""
        await self._wait(0)
        self._platter.change(Write(path, bytes(data)))

    async def sync(self, path: str) -> None:
        """Make the path durable."""
        await self._wait(self._platter.sync_takes_s())
        self._existing(path)
        self._platter.sync(path)

    async def rename(self, source: str, target: str) -> None:
        """Move a file, replacing the target."""
        await self._wait(0)
        self._existing(source)
        if source != target:
            self._platter.change(Rename(source, target))

    async def delete(self, path: str) -> None:
        """Remove a file."""
        await self._wait(0)
        self._existing(path)
        self._platter.change(Delete(path))

    async def list(self, folder: str) -> Sequence[str]:
        """Return the paths of the files below a folder, sorted."""
        await self._wait(0)
        folder = folder.strip("/")
        prefix = "" if folder in ("", ".") else f"{folder}/"
        return sorted(path for path in self._platter.seen if path.startswith(prefix))

    async def open_database(self, path: str) -> SimDatabase:
        """Open an SQLite database on this disk; see `mesh.runtime.environment.Disk`."""
        await self._wait(0)
        other = self._databases.get(path)
        if other is not None and not other.closed:
            raise ConfigError([Violation(file=path, message="another process has this database open")])
        database = SimDatabase(
            self._platter,
            path,
            check=self._check,
            check_power=self._check_power,
            random=self._random,
            wall_clock=self._wall_clock,
        )
        self._databases[path] = database
        await database.open()
        return database

    def _existing(self, path: str) -> bytearray:
        try:
            return self._platter.seen[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file on the simulated disk", path) from None

    async def _wait(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._check()

    def _check(self) -> None:
        self._check_power()
        if self._platter.broken:
            raise OSError(errno.EIO, "the simulated disk is broken")

    def _check_power(self) -> None:
        if self._cut:
            raise OSError(errno.EIO, "the simulated host has lost its power")
