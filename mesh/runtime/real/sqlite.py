"""SQLite on the operating system: one writer's connection, its work in worker threads.

A file locked for life beside the database keeps a second process out: SQLite alone would let both write. Reading is open
to other processes (`open_database_read_only`).
"""

import fcntl
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import apsw
import trio

from mesh.model.errors import ConfigError, StoreError, Violation
from mesh.runtime.environment import Transaction
from mesh.runtime.sqlite import make_durable, not_a_database, run_transaction

T = TypeVar("T")

_FILE_MODE = 0o600  # SQLite gives the log beside the database the same mode.
_BUSY_MS = 5000  # A reader of another process may hold a lock for a moment.


class SqliteDatabase:
    """See `mesh.runtime.environment.Database`. Trio never abandons the thread: whoever was cancelled gets the outcome."""

    def __init__(self, connection: apsw.Connection, *, lock_file: int | None) -> None:
        self._connection = connection
        self._lock_file = lock_file  # None: read only
        self._lock = trio.Lock()

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        async with self._lock:
            return await trio.to_thread.run_sync(partial(self._run, work, read_only=read_only))

    def _run(self, work: Callable[[Transaction], T], *, read_only: bool) -> T:
        try:
            return run_transaction(self._connection, work, read_only=read_only or self._lock_file is None)
        except apsw.ConnectionClosedError as error:
            raise StoreError("the database is closed") from error

    async def wait_changed(self) -> None:
        """See Database: nobody else can write."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Bring the log into the file, close it, let others in; safe to repeat."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                await trio.to_thread.run_sync(self._close)

    def _close(self) -> None:
        self._connection.close(True)
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def open_database(place: str) -> SqliteDatabase:
    """Open a file for ourselves alone, made if absent; blocks. Raises: ConfigError when another has it, StoreError."""
    lock_file = _lock(place)
    try:
        _make(place)
        connection = _connect(place, apsw.SQLITE_OPEN_READWRITE)
        try:
            make_durable(connection)
        except BaseException:
            connection.close(True)
            raise
    except BaseException as error:
        os.close(lock_file)
        raise _explained(place, error) from error
    return SqliteDatabase(connection, lock_file=lock_file)


async def open_database_read_only(place: str) -> SqliteDatabase:
    """Open a file for reading, whether another process has it open or not. Raises: ConfigError, StoreError."""
    return SqliteDatabase(await trio.to_thread.run_sync(connect_read_only, place), lock_file=None)


def connect_read_only(place: str) -> apsw.Connection:
    """Connect to a file for reading, see `open_database_read_only`; blocks. Raises: ConfigError, StoreError."""
    if not os.path.exists(place):
        raise ConfigError([Violation(file=place, message="there is no such database")])
    try:
        connection = _connect(place, apsw.SQLITE_OPEN_READONLY)
        connection.execute("PRAGMA query_only = 1")
    except apsw.Error as error:
        raise _explained(place, error) from error
    return connection


def _connect(place: str, flags: int) -> apsw.Connection:
    connection = apsw.Connection(place, flags=flags)
    connection.set_busy_timeout(_BUSY_MS)
    return connection


def _explained(place: str, error: BaseException) -> BaseException:
    match error:
        case apsw.NotADBError() | apsw.CorruptError() | apsw.CantOpenError():
            return not_a_database(place, error)
        case apsw.Error():
            return StoreError(f"{place}: {error}")
        case OSError():
            return ConfigError([Violation(file=place, message=f"cannot be opened: {error.strerror}")])
    return error


def _make(place: str) -> None:
    """Make the file before SQLite does, for its mode."""
    os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE))


def _lock(place: str) -> int:
    """Return a descriptor that holds the lock until it is closed: by us, or by the kernel when we die."""
    folder = os.path.dirname(place)
    try:
        lock_file = os.open(f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    except OSError as error:
        raise ConfigError([Violation(file=place, message=f"cannot be locked: {error.strerror}")]) from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock_file, 20, 0).decode("ascii", "replace").strip()
        os.close(lock_file)
        message = f"the data folder {folder} is in use by process {holder or 'unknown'}"
        hint = "stop it, or choose another data folder"
        raise ConfigError([Violation(message=message, hint=hint)]) from error
    os.ftruncate(lock_file, 0)
    os.pwrite(lock_file, f"{os.getpid()}\n".encode(), 0)
    return lock_file
