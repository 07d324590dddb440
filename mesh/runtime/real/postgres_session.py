"""One connection to PostgreSQL on which transactions run; for worker threads, one at a time.

All that write stand in one line, by an advisory lock taken first: each sees all that was committed before, no number taken
from a counter appears after a higher one, and none has to be repeated because of another. Readers see one snapshot.

Each commit leaves its number in a row of ours, so that its outcome can be found when the answer was lost. PostgreSQL's
own transaction ids would not do: a server that crashed gives the ids again that it had not written down yet.
Source: PostgreSQL 15, 13.2 (isolation), 13.3.5 (advisory locks), NOTIFY.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, LiteralString, TypeVar

import attrs
import psycopg
from psycopg import conninfo, errors

from mesh.model.errors import ConfigError, StoreError, Violation
from mesh.runtime.environment import Transaction

T = TypeVar("T")
_Connection = psycopg.Connection[tuple[Any, ...]]

CHANNEL = "trio_mesh_changed"
_VERSION_MIN = 130000  # The first with pg_current_xact_id_if_assigned.
_WRITERS_LOCK = 0x7472696F6D657368  # "triomesh"; advisory locks are numbers.

_CONNECT_OPTIONS = {
    "connect_timeout": "5",
    "application_name": "trio-mesh",
    # A server that has vanished is noticed within some 20 s.
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SETTINGS = (
    "SET client_encoding = 'UTF8'; "
    # A writer that stands still holds up all others: the server ends its transaction.
    "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '20s'; SET statement_timeout = '30s'; "
    # Acknowledged means durable, whatever the server's default is.
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"
_BEGIN_READ_ONLY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_HAS_COMMITS = "SELECT to_regclass('trio_mesh_commits') IS NOT NULL"
_CREATE_COMMITS = (
    f"{_BEGIN}; CREATE TABLE IF NOT EXISTS trio_mesh_commits"
    " (client TEXT PRIMARY KEY, number BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL); COMMIT"
)
_FORGET_CLIENTS = "DELETE FROM trio_mesh_commits WHERE at < now() - interval '1 day'"
# Marks nothing in a transaction that has written nothing.
_MARK = (
    "INSERT INTO trio_mesh_commits (client, number, at) SELECT %(client)s, %(number)s, now()"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    " ON CONFLICT (client) DO UPDATE SET number = excluded.number, at = excluded.at RETURNING number"
)
_LAST_MARK = "SELECT number FROM trio_mesh_commits WHERE client = %(client)s"
_NOTIFY_AND_COMMIT = f"NOTIFY {CHANNEL}; COMMIT"

# What a server says that will not take us in a minute either. libpq gives no codes for it.
_REFUSALS = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "no password supplied",
    "permission denied",
)

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)|%")


class TryAgain(Exception):
    """Nothing happened; it may work on a new connection or in a moment."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InDoubt(Exception):
    """The server or the connection failed while committing: ask `is_committed(number)`. `result` is the work's."""

    def __init__(self, reason: str, number: int, result: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number
        self.result = result


@attrs.frozen(kw_only=True)
class Target:
    """Which database to connect to. `name` can be shown to anybody."""

    options: Mapping[str, Any] = attrs.field(repr=False)
    name: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Read a URL. Raises: ConfigError."""
        try:
            options = conninfo.conninfo_to_dict(url)
            for port in filter(None, str(options.get("port", "")).split(",")):
                int(port)
        except (psycopg.Error, ValueError):
            # libpq's message may quote any part of it.
            hint = "write postgresql://user:password@host:5432/database; escape special characters as %40"
            raise ConfigError([Violation(message="the store's URL cannot be read", hint=hint)]) from None
        place = options.get("host") or "localhost"
        if "port" in options:
            place = f"{place}:{options['port']}"
        database = options.get("dbname") or options.get("user") or ""
        return cls(options={**_CONNECT_OPTIONS, **options}, name=f"PostgreSQL at {place}/{database}")

    def connect(self) -> _Connection:
        """Open a connection; blocks. Raises: ConfigError when the server will not have us, TryAgain."""
        try:
            connection = psycopg.connect(**self.options, autocommit=True)
        except psycopg.Error as error:
            reason = str(error).strip()
            if any(refusal in reason for refusal in _REFUSALS):
                raise ConfigError([Violation(message=f"{self.name} refuses us: {reason}")]) from None
            raise TryAgain(reason) from None
        try:
            connection.execute(_SETTINGS)
        except psycopg.Error as error:
            connection.close()
            raise TryAgain(_reason(error)) from error
        return connection


class _PostgresTransaction:
    """See `mesh.runtime.environment.Transaction`."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] = {}) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(_translate(sql), dict(values))
        return cursor.fetchall() if cursor.description is not None else []


class Session:
    """The connection, opened again whenever it was lost."""

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.server_is_durable = True
        self.backend_pid = 0  # of the server's process for us; notifications name who sent them
        self._target = target
        self._connection: _Connection | None = None
        self._closed = False
        self._client = uuid.uuid4().hex
        self._number = 0  # of the last transaction

    def connect(self) -> None:
        """Connect, unless we are. Raises: ConfigError, TryAgain."""
        if self._connection is not None and not self._connection.broken and not self._connection.closed:
            return
        self._drop()
        connection = self._target.connect()
        if connection.info.server_version < _VERSION_MIN:
            connection.close()
            raise ConfigError([Violation(message=f"{self.name} is older than PostgreSQL {_VERSION_MIN // 10000}")])
        self._prepare(connection)
        self._connection = connection
        self.backend_pid = connection.info.backend_pid
        self.server_is_durable = connection.execute("SHOW fsync").fetchone() != ("off",)

    def _prepare(self, connection: _Connection) -> None:
        """Make the table of commits. Raises: ConfigError, TryAgain."""
        try:
            if connection.execute(_HAS_COMMITS).fetchone() != (True,):
                connection.execute(_CREATE_COMMITS)
            connection.execute(_FORGET_CLIENTS)
        except psycopg.Error as error:
            connection.close()
            raise self._explained(error) from error

    def attempt(self, work: Callable[[Transaction], T], *, read_only: bool) -> T:
        """Run one transaction. Nothing happened when it raises, but for InDoubt.

        Raises: TryAgain, StoreError, ConfigError when the database does not let its user do that.
        """
        connection = self._connected()
        self._number += 1
        try:
            connection.execute(_BEGIN_READ_ONLY if read_only else _BEGIN)
            result = work(_PostgresTransaction(connection))
            wrote = not read_only and self._mark(connection)
        except psycopg.Error as error:
            self._roll_back()
            raise self._explained(error) from error
        except BaseException:
            self._roll_back()
            raise
        self._commit(connection, result, wrote=wrote)
        return result

    def _mark(self, connection: _Connection) -> bool:
        """Leave the transaction's number, if it wrote something; tell whether it did."""
        values = {"client": self._client, "number": self._number}
        return connection.execute(_MARK, values).fetchone() is not None

    def _commit(self, connection: _Connection, result: object, *, wrote: bool) -> None:
        try:
            connection.execute(_NOTIFY_AND_COMMIT if wrote else "COMMIT")
        except psycopg.Error as error:
            self._roll_back()
            if wrote and isinstance(error, psycopg.OperationalError):
                raise InDoubt(_reason(error), self._number, result) from error
            raise self._explained(error) from error

    def is_committed(self, number: int) -> bool:
        """Tell the outcome of the last transaction, waiting for the server to end it. Raises: TryAgain, StoreError."""
        connection = self._connected()
        try:
            connection.execute(_BEGIN)  # Whoever still holds the writers' lock may be ourselves, cut off.
            mark = connection.execute(_LAST_MARK, {"client": self._client}).fetchone()
            connection.execute("COMMIT")
        except psycopg.Error as error:
            self._roll_back()
            raise self._explained(error) from error
        return mark == (number,)

    def close(self) -> None:
        """Close for good; safe to repeat."""
        self._closed = True
        self._drop()

    def _connected(self) -> _Connection:
        if self._closed:
            raise StoreError(f"{self.name}: the database is closed")
        try:
            self.connect()
        except ConfigError as error:
            raise StoreError(str(error)) from error  # It had us before: not a mistake in what was written.
        assert self._connection is not None
        return self._connection

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()  # The server rolls back what it has no connection for.

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _explained(self, error: psycopg.Error) -> Exception:
        match error:
            case errors.InsufficientPrivilege():
                return ConfigError([Violation(message=f"{self.name}: {_reason(error)}")])
            # An OperationalError is the server's or the network's, not the statement's.
            case errors.DiskFull():
                return StoreError(f"{self.name}: {_reason(error)}")
            case psycopg.OperationalError() | psycopg.InterfaceError():
                return TryAgain(_reason(error))
        return StoreError(f"{self.name}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return the first line: the others quote statements."""
    return str(error).strip().partition("\n")[0]


@lru_cache(maxsize=512)
def _translate(sql: str) -> LiteralString:
    """Turn `:name` into psycopg's `%(name)s`."""
    return _PARAMETER.sub(lambda match: f"%({match[1]})s" if match[1] else "%%", sql)
