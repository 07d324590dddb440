"""A database server on a host of its own, which several control planes share, as they share PostgreSQL in the real world.

Between them lies the simulated network: partitions, latency, a dead server and lost answers are what they are in a run. What
crosses it is a number for the work, which is a function and stays in this process, and fillers of the usual sizes. As with
PostgreSQL, a transaction is tried again for a while when the connection breaks, a commit whose answer was lost is asked about,
and whoever listens hears of the commits of others. Source: `mesh.runtime.real.postgres`.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

import attrs
import trio
from trio.abc import HalfCloseableStream

from mesh.model.errors import BrokenConnection, ConfigError, ConnectFailed, OutcomeUnknown, StoreError, Violation
from mesh.model.names import Address
from mesh.runtime.environment import Database, Environment, Transaction

T = TypeVar("T")

PORT = 5432
FILE = "shared.db"
CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 20.0  # Source: tcp_user_timeout of `mesh.runtime.real.postgres_session`.
REPEAT_S = 15.0
SETTLE_S = 30.0
PAUSE_S = 0.25
ALIVE_S = 5.0  # between two signs of life to a listener, in place of TCP's keep-alive
SILENCE_S_MAX = 19.0
_FRAME = Struct(">cQ119x")  # what is asked, and the number of the work or of the client; 128 bytes
_WORK, _SETTLE, _LISTEN, _NEWS, _ALIVE = b"W", b"S", b"L", b"N", b"A"


class _Broken(Exception):
    """The connection to the server broke, or never came about."""


@attrs.define(eq=False)
class _Job:
    """One transaction: what is to be done, and on the server's side what came of it."""

    client: int
    work: Callable[[Transaction], Any]
    read_only: bool
    done: bool = False
    result: Any = None
    error: Exception | None = None


@attrs.define(eq=False)
class Jobs:
    """The transactions under way, by number: shared by the server and its clients, in place of the bytes of SQL."""

    _last: int = 0
    _clients: int = 0
    by_number: dict[int, _Job] = attrs.field(factory=dict)

    def new_client(self) -> int:
        self._clients += 1
        return self._clients

    def add(self, job: _Job) -> int:
        self._last += 1
        self.by_number[self._last] = job
        return self._last


@attrs.define(eq=False)
class DatabaseServer:
    """The server; `run` on its host. Owns the database file there, and who listens."""

    env: Environment
    jobs: Jobs
    _listening: dict[int, trio.MemorySendChannel[None]] = attrs.field(factory=dict, init=False)

    async def run(self) -> None:
        """Serve until cancelled. Raises: ConfigError, StoreError."""
        database = await self.env.disk.open_database(FILE)
        listener = await self.env.network.listen(Address("0.0.0.0", PORT))
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await listener.accept(), database)

    async def _serve(self, stream: HalfCloseableStream, database: Database) -> None:
        try:
            while True:
                kind, number = await _receive(stream)
                if kind == _LISTEN:
                    await self._tell(stream, number)
                    return
                if kind == _WORK:
                    await self._work(database, self.jobs.by_number[number])
                await _send(stream, kind, number)
        except (_Broken, KeyError):  # A job that its client has given up is asked for no more.
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _work(self, database: Database, job: _Job) -> None:
        if job.done:
            return
        try:
            job.result = await database.transact(job.work, read_only=job.read_only)
        except Exception as error:  # It is the client's: its work raised it, or the disk here.
            job.error = error
        job.done = True
        if job.error is None and not job.read_only:
            for client, news in self._listening.items():
                if client != job.client:
                    _wake(news)

    async def _tell(self, stream: HalfCloseableStream, client: int) -> None:
        """Tell a listener of each commit of somebody else; commits that come together are one piece of news."""
        wake, woken = trio.open_memory_channel[None](1)
        self._listening[client] = wake
        try:
            await _send(stream, _LISTEN, client)
            while True:
                kind = _ALIVE
                with trio.move_on_after(ALIVE_S):
                    await woken.receive()
                    kind = _NEWS
                await _send(stream, kind, client)
        finally:
            if self._listening.get(client) is wake:
                del self._listening[client]


@attrs.define(eq=False)
class SharedDatabase:
    """One client's end; implements `mesh.runtime.environment.Database`."""

    env: Environment
    address: Address
    jobs: Jobs
    _client: int = attrs.field(init=False)
    _stream: HalfCloseableStream | None = attrs.field(default=None, init=False)
    _news: HalfCloseableStream | None = attrs.field(default=None, init=False)
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._client = self.jobs.new_client()

    async def open(self) -> None:
        """Connect. Raises: ConfigError when the server does not answer for a while."""
        deadline = trio.current_time() + REPEAT_S
        while True:
            try:
                self._stream = await self._connect()
            except _Broken as broken:
                if trio.current_time() >= deadline:
                    raise ConfigError(
                        [Violation(message=f"cannot reach the store at {self.address}: {broken}")]
                    ) from broken
                await trio.sleep(PAUSE_S)
            else:
                return

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        """See Database."""
        async with self._lock:
            job = _Job(self._client, work, read_only)
            number = self.jobs.add(job)
            try:
                await self._carry_out(number, job)
            finally:
                del self.jobs.by_number[number]
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def _carry_out(self, number: int, job: _Job) -> None:
        """Raises: StoreError, OutcomeUnknown."""
        deadline = trio.current_time() + REPEAT_S
        while True:
            asked = False
            try:
                stream = await self._connected()
                asked = True
                # Whoever is cancelled from here on gets the result all the same; `_ask` bounds how long that takes.
                with trio.CancelScope(shield=True):
                    await self._ask(stream, _WORK, number)
                return
            except _Broken as broken:
                reason = str(broken)
            if asked and not job.read_only and await self._is_settled(number, job):
                return
            if trio.current_time() >= deadline:
                raise StoreError(f"{self.address}: {reason}")
            await trio.sleep(PAUSE_S)

    async def _is_settled(self, number: int, job: _Job) -> bool:
        """Ask what became of a transaction whose answer was lost; False: it never began. Raises: OutcomeUnknown."""
        deadline = trio.current_time() + SETTLE_S
        while True:
            try:
                await self._ask(await self._connected(), _SETTLE, number)
            except _Broken as broken:
                if trio.current_time() >= deadline:
                    raise OutcomeUnknown(f"{self.address}: the connection broke during a commit: {broken}") from broken
                await trio.sleep(PAUSE_S)
            else:
                return job.done

    async def _ask(self, stream: HalfCloseableStream, kind: bytes, number: int) -> None:
        try:
            with trio.move_on_after(ANSWER_S_MAX):
                await _send(stream, kind, number)
                await _receive(stream)
                return
            raise _Broken(f"no answer within {ANSWER_S_MAX:g} s")
        except _Broken:
            self._stream = None
            await trio.aclose_forcefully(stream)
            raise

    async def _connected(self) -> HalfCloseableStream:
        if self._stream is None:
            self._stream = await self._connect()
        return self._stream

    async def _connect(self) -> HalfCloseableStream:
        with trio.move_on_after(CONNECT_S_MAX):
            try:
                return await self.env.network.connect(self.address)
            except (ConnectFailed, BrokenConnection) as error:
                raise _Broken(str(error)) from error
        raise _Broken(f"no connection within {CONNECT_S_MAX:g} s")

    async def wait_changed(self) -> None:
        """See Database: returns after a commit of another client, and after each time that we could not listen."""
        if self._news is not None:
            try:
                await self._hear(self._news)
            except _Broken:
                await trio.aclose_forcefully(self._news)
                self._news = None
            else:
                return
        while self._news is None:
            try:
                stream = await self._connect()
                await _send(stream, _LISTEN, self._client)
                await _receive(stream)
                self._news = stream
            except _Broken:
                await trio.sleep(PAUSE_S)

    @staticmethod
    async def _hear(news: HalfCloseableStream) -> None:
        while True:
            with trio.move_on_after(SILENCE_S_MAX) as patience:
                kind, _ = await _receive(news)
                if kind == _NEWS:
                    return
            if patience.cancelled_caught:
                raise _Broken(f"nothing heard for {SILENCE_S_MAX:g} s")

    async def aclose(self) -> None:
        """Close the connections; safe to repeat."""
        for stream in (self._stream, self._news):
            if stream is not None:
                await trio.aclose_forcefully(stream)
        self._stream = self._news = None


def _wake(news: trio.MemorySendChannel[None]) -> None:
    try:
        news.send_nowait(None)
    except trio.WouldBlock:
        pass


async def _send(stream: HalfCloseableStream, kind: bytes, number: int) -> None:
    try:
        await stream.send_all(_FRAME.pack(kind, number))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise _Broken("the connection broke") from error


async def _receive(stream: HalfCloseableStream) -> tuple[bytes, int]:
    """Return one frame."""
    data = b""
    try:
        while len(data) < _FRAME.size:
            part = bytes(await stream.receive_some(_FRAME.size - len(data)))
            if not part:
                raise _Broken("the peer closed")
            data += part
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise _Broken("the connection broke") from error
    kind, number = _FRAME.unpack(data)
    return kind, number
