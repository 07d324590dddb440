"""Transactions on one SQLite connection: what the real and the simulated database share.

Knows neither files nor threads: `mesh.runtime.real.sqlite` and `sim.database` open the connection and call in.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import apsw

from mesh.model.errors import ConfigError, OutcomeUnknown, StoreError, Violation
from mesh.runtime.environment import Transaction

T = TypeVar("T")

# A commit returns when the device has it. NORMAL would lose the last commits with the power. Source: SQLite, PRAGMA synchronous.
_DURABLE = "PRAGMA synchronous = FULL"


class SqliteTransaction:
    """See `mesh.runtime.environment.Transaction`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] = {}) -> list[tuple[Any, ...]]:
        try:
            return list(self._connection.execute(sql, dict(values)))
        except apsw.Error as error:
            raise _failure(self._connection, error) from error


def make_durable(connection: apsw.Connection) -> None:
    """Set a fresh connection up for writing: write-ahead log, each commit synced. Raises: apsw.Error."""
    mode = connection.execute("PRAGMA journal_mode = WAL").get
    assert mode == "wal", f"SQLite chose the journal mode {mode}"
    connection.execute(_DURABLE)


def run_transaction(connection: apsw.Connection, work: Callable[[Transaction], T], *, read_only: bool) -> T:
    """Run `work` between BEGIN and COMMIT. Nothing happened when it raises, except OutcomeUnknown. Raises: StoreError."""
    transaction = SqliteTransaction(connection)
    # IMMEDIATE takes the writer's place before the first read, so that nothing read can be out of date when it is written.
    transaction.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
    try:
        result = work(transaction)
        _commit(connection)
    except BaseException:
        _roll_back(connection)
        raise
    return result


def not_a_database(place: str, error: apsw.Error) -> ConfigError:
    """Explain why a file cannot be opened."""
    return ConfigError([Violation(file=place, message=f"cannot be opened as an SQLite database: {error}")])


def _commit(connection: apsw.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except (apsw.IOError, apsw.FullError) as error:
        # What did reach the log may count as committed when the log is read again after a crash.
        raise OutcomeUnknown(f"{connection.filename}: {error}") from error
    except apsw.Error as error:
        raise _failure(connection, error) from error


def _roll_back(connection: apsw.Connection) -> None:
    try:
        if connection.in_transaction:  # Grave errors have ended the transaction already.
            connection.execute("ROLLBACK")
    except apsw.Error:
        pass  # The first error tells more; SQLite rolls back when the connection is used or opened again.


def _failure(connection: apsw.Connection, error: apsw.Error) -> StoreError:
    return StoreError(f"{connection.filename}: {error}")
