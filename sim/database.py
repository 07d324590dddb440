"""SQLite on a simulated disk: the same library and SQL as in the real world, over a file system of ours.

The work of a transaction runs at once, in no virtual time; what it did to the files is then brought to the platter step by
step, each sync taking the disk's latency. So a power cut may fall between any two steps of a commit, as in the
real world, and nothing here needs a thread.
SQLite keeps the lock of the file for itself: shared memory, which several processes would need, is not simulated.
"""

import itertools
import posixpath
from collections.abc import Callable
from typing import TypeVar

import apsw
import trio

from mesh.model.errors import StoreError
from mesh.model.randomness import Random
from mesh.runtime.environment import Transaction
from mesh.runtime.sqlite import make_durable, not_a_database, run_transaction
from sim.database_files import PlatterVfs, Step, Sync
from sim.platter import Platter

T = TypeVar("T")

_vfs_numbers = itertools.count(1)  # SQLite wants a name for each; nothing depends on it.

# The log would grow without end in the simulated life of a busy host. The default of SQLite, said so that it is seen.
_CHECKPOINT_PAGES = 1000


class SimDatabase:
    """Implements `mesh.runtime.environment.Database`. `check` raises OSError when the disk is broken or without power."""

    def __init__(
        self,
        platter: Platter,
        path: str,
        *,
        check: Callable[[], None],
        check_power: Callable[[], None],
        random: Random,
        wall_clock: Callable[[], float],
    ) -> None:
        self.closed = False
        self._platter = platter
        self._path = path
        self._check = check
        self._check_power = check_power
        self._random = random
        self._lock = trio.Lock()
        self._steps: list[Step] = []  # shown to readers, not yet on the platter
        self._vfs = PlatterVfs(
            f"platter-{next(_vfs_numbers)}", platter, self._steps, check=check, random=random, wall_clock=wall_clock
        )
        self._connection: apsw.Connection | None = None

    async def open(self) -> None:
        """Open or make the file; once. Raises: ConfigError, StoreError."""
        _seed_sqlite(self._random)
        try:
            self._connection = self._connect()
        except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError) as error:
            self._forget()
            raise not_a_database(self._path, error) from error
        except apsw.Error as error:
            self._forget()
            raise StoreError(f"{self._path}: {error}") from error
        await self._play()

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(self._path, vfs=self._vfs.vfs_name)
        # A connection that is dropped with its world must not write.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            make_durable(connection)
        except apsw.Error:
            connection.close(True)
            raise
        return connection

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        """See Database."""
        async with self._lock:
            connection = self._usable()
            try:
                return run_transaction(connection, work, read_only=read_only)
            finally:
                # Also after a failure: what SQLite wrote by then, it wrote.
                await self._play()

    async def wait_changed(self) -> None:
        """See Database: nobody else can write."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Bring the log into the file, and close it; safe to repeat."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                if self._connection is None:
                    return
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                self._forget()
                await self._play()

    def cut(self) -> None:
        """Lose power: not one more step reaches the platter."""
        self._steps.clear()
        self._forget()

    def _usable(self) -> apsw.Connection:
        try:
            self._check()
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
        if self._connection is None:
            raise StoreError(f"{self._path}: the database is closed")
        return self._connection

    async def _play(self) -> None:
        """Bring to the platter what was shown to readers. Raises: StoreError when the power goes on the way."""
        steps = self._steps[:]
        self._steps.clear()
        # SQLite has committed already: stopping half-way would leave the platter behind what it believes.
        with trio.CancelScope(shield=True):
            try:
                for step in steps:
                    await self._play_step(step)
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error

    async def _play_step(self, step: Step) -> None:
        if isinstance(step, Sync):
            await trio.sleep(self._platter.sync_takes_s())
            self._check_power()
            self._platter.sync(step.path)
            if step.is_new:
                self._platter.sync_deletions(posixpath.dirname(step.path))
        else:
            self._check_power()
            self._platter.record(step)

    def _forget(self) -> None:
        self.closed = True
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None
        self._vfs.unregister()


class _Chance(apsw.VFS):
    """Stands in as SQLite's default file system while its generator is seeded."""

    def __init__(self, random: Random) -> None:
        self._random = random
        super().__init__("chance", "", makedefault=True)

    def xRandomness(self, numbytes: int) -> bytes:
        return self._random.randbytes(numbytes)


def _seed_sqlite(random: Random) -> None:
    """Seed SQLite's own generator, one for the whole process: salts of logs come from it.

    Source: sqlite3_randomness: no bytes reset it, and the next ones seed it from the default file system.
    """
    chance = _Chance(random)
    apsw.randomness(0)
    apsw.randomness(1)
    chance.unregister()
