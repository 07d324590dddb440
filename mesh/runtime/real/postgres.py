"""PostgreSQL as a `Database`: transactions in worker threads, repeated over lost connections, and news from other writers.

psycopg is an optional dependency: it is imported when the first database is opened.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import trio
from structlog.typing import FilteringBoundLogger

from mesh.model.errors import ConfigError, OutcomeUnknown, StoreError, Violation
from mesh.runtime.environment import Transaction

if TYPE_CHECKING:
    from mesh.runtime.real.postgres_notifications import Notifications
    from mesh.runtime.real.postgres_session import Session

T = TypeVar("T")

_OPEN_S = 10.0  # How long a server may still be starting when we are.
_REPEAT_S = 15.0  # How long a transaction is tried again; a restart of the server takes a few seconds.
_SETTLE_S = 30.0  # How long we look for the outcome of a commit whose answer was lost.
_PAUSE_S_BASE = 0.05
_PAUSE_S_MAX = 1.0


class PostgresDatabase:
    """See `mesh.runtime.environment.Database`. Made by `open_postgres`."""

    def __init__(self, session: "Session", notifications: "Notifications", log: FilteringBoundLogger) -> None:
        self._session = session
        self._notifications = notifications
        self._log = log
        self._lock = trio.Lock()

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        deadline = trio.current_time() + _REPEAT_S
        async with self._lock:
            return await self._transact(work, read_only, deadline)

    async def _transact(self, work: Callable[[Transaction], T], read_only: bool, deadline: float) -> T:
        from mesh.runtime.real.postgres_session import InDoubt, TryAgain

        pause_s = _PAUSE_S_BASE
        while True:
            # Trio does not abandon the thread when we are cancelled: its outcome is always known, and then ours.
            try:
                return await trio.to_thread.run_sync(partial(self._session.attempt, work, read_only=read_only))
            except TryAgain as again:
                reason = again.reason
            except InDoubt as doubt:
                reason = doubt.reason
                if await self._is_committed(doubt.number):
                    result: T = doubt.result
                    return result
            if trio.current_time() >= deadline:
                raise StoreError(f"{self._session.name}: {reason}")
            self._log.warning("database.transaction_repeated", database=self._session.name, reason=reason)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    async def _is_committed(self, number: int) -> bool:
        """Ask the server about a commit that it did not answer. Raises: OutcomeUnknown."""
        with trio.CancelScope(shield=True):
            return await self._settle(number, trio.current_time() + _SETTLE_S)
        raise AssertionError("a shield swallows nothing")

    async def _settle(self, number: int, deadline: float) -> bool:
        from mesh.runtime.real.postgres_session import TryAgain

        while True:
            try:
                return await trio.to_thread.run_sync(self._session.is_committed, number)
            except (TryAgain, StoreError) as error:
                if trio.current_time() >= deadline:
                    message = f"{self._session.name}: the connection broke during a commit: {error}"
                    raise OutcomeUnknown(message) from error
            await trio.sleep(_PAUSE_S_BASE)

    async def wait_changed(self) -> None:
        """See Database: returns after a commit of another connection, and after each time that we could not listen."""
        await self._notifications.wait()

    async def aclose(self) -> None:
        """Close the connections; safe to repeat."""
        self._notifications.close()
        with trio.CancelScope(shield=True):
            async with self._lock:
                await trio.to_thread.run_sync(self._session.close)


async def open_postgres(url: str, *, log: FilteringBoundLogger) -> PostgresDatabase:
    """Connect to `postgresql://[user[:password]@]host[:port]/database[?option=value]`, waiting a while for the server.

    Raises: ConfigError (no such URL, server, user, password or database; psycopg is missing), never quoting the password;
    StoreError.
    """
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        hint = "write postgresql://user:password@host:5432/database"
        raise ConfigError([Violation(message="the store's URL is not PostgreSQL's", hint=hint)])
    _require_psycopg()
    from mesh.runtime.real.postgres_notifications import Notifications
    from mesh.runtime.real.postgres_session import Session, Target

    target = Target.parse(url)
    session = Session(target)
    await _connect_patiently(session, log)
    if not session.server_is_durable:
        log.warning("database.not_durable", database=target.name, setting="fsync = off")
    return PostgresDatabase(session, Notifications(target, session, log), log)


async def _connect_patiently(session: "Session", log: FilteringBoundLogger) -> None:
    from mesh.runtime.real.postgres_session import TryAgain

    deadline = trio.current_time() + _OPEN_S
    while True:
        try:
            return await trio.to_thread.run_sync(session.connect)
        except TryAgain as again:
            if trio.current_time() >= deadline:
                raise ConfigError([Violation(message=f"cannot reach {session.name}: {again.reason}")]) from again
            log.warning("database.not_reached", database=session.name, reason=again.reason)
        await trio.sleep(_PAUSE_S_MAX)


def _require_psycopg() -> None:
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        message = "the store is PostgreSQL's, and psycopg is not installed"
        raise ConfigError([Violation(message=message, hint="pip install 'trio-mesh[postgres]'")]) from error
