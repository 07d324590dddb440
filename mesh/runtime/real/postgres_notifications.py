"""News of other writers: a connection of its own that listens, waited for by Trio.

A notification that came while nobody listened is lost, so that each new connection counts as news.
Source: libpq, 34.9 (asynchronous notification).
"""

import psycopg
import trio
from structlog.typing import FilteringBoundLogger

from mesh.model.errors import ConfigError
from mesh.runtime.real.postgres_session import CHANNEL, Session, Target, TryAgain

_PAUSE_S_BASE = 0.1
_PAUSE_S_MAX = 2.0


class Notifications:
    """See `mesh.runtime.environment.Database.wait_changed`."""

    def __init__(self, target: Target, session: Session, log: FilteringBoundLogger) -> None:
        self._target = target
        self._session = session
        self._log = log
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._closed = False

    async def wait(self) -> None:
        """Sleep until somebody else has committed, or may have."""
        if self._connection is None:
            await self._listen()
            return
        try:
            while not self._has_news(self._connection):
                await trio.lowlevel.wait_readable(self._connection.fileno())
        except psycopg.Error as error:
            self._log.warning("database.listening_lost", database=self._target.name, reason=str(error).strip())
            self._drop()
            await self._listen()

    def close(self) -> None:
        """Close for good; who waits gets trio.ClosedResourceError."""
        self._closed = True
        self._drop()

    def _has_news(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        """Take what has arrived; is anything of it not our own doing? Raises: psycopg.OperationalError."""
        connection.pgconn.consume_input()
        news = False
        while (notification := connection.pgconn.notifies()) is not None:
            news |= notification.be_pid != self._session.backend_pid
        return news

    async def _listen(self) -> None:
        pause_s = _PAUSE_S_BASE
        while self._connection is None:
            try:
                self._connection = await trio.to_thread.run_sync(self._connect)
            except (TryAgain, ConfigError) as error:
                self._log.warning("database.not_reached", database=self._target.name, reason=str(error))
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        if self._closed:
            self._drop()
            raise trio.ClosedResourceError

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        connection = self._target.connect()
        try:
            connection.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            connection.close()
            raise TryAgain(str(error).strip()) from error
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not connection.closed:
            trio.lowlevel.notify_closing(connection.fileno())
        connection.close()
