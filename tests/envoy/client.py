"""The client: acts its steps over real connections and notes what comes back, down to how connections end."""

from collections.abc import Mapping, Sequence

import attrs
import trio

from tests.envoy.outcome import Reply
from tests.envoy.script import Pause, Step, Stream, Talk, Together, Turn
from tests.envoy.upstream import reset_on_close, shown

PATIENCE_S = 12.0  # for one response
NO_BODY_STATUSES = (204, 304)


class Ended(Exception):
    """The connection has ended; `how` is "cut" or "reset"."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


async def act(steps: Sequence[Step], ports: Mapping[str, int]) -> tuple[Reply, ...]:
    """Act the steps one after the other; `ports`: of the listeners. Return the replies in the order of the steps."""
    replies: list[Reply] = []
    for step in steps:
        match step:
            case Pause():
                await trio.sleep(step.seconds)
            case Talk():
                replies += await _talk(step, ports[step.listener])
            case Stream():
                replies.append(await _stream(step, ports[step.listener]))
            case Together():
                replies += await _together(step, ports)
    return tuple(replies)


async def _together(step: Together, ports: Mapping[str, int]) -> list[Reply]:
    made: list[list[Reply]] = [[] for _ in step.talks]

    async def one(index: int, talk: Talk) -> None:
        made[index] = await _talk(talk, ports[talk.listener])

    async with trio.open_nursery() as nursery:
        for index, talk in enumerate(step.talks):
            nursery.start_soon(one, index, talk)
            await trio.sleep(step.stagger_s)
    return [reply for replies in made for reply in replies]


async def _connect(port: int) -> trio.SocketStream:
    """Connect. Unlike `trio.open_tcp_stream` not troubled by a proxy that resets at once: the first read says so."""
    sock = trio.socket.socket()
    try:
        try:
            await sock.connect(("127.0.0.1", port))
        except ConnectionResetError:
            pass
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


async def _talk(talk: Talk, port: int) -> list[Reply]:
    async with await _connect(port) as stream:
        connection = _Connection(stream)
        replies: list[Reply] = []
        for turn in talk.turns:
            reply = await connection.take_turn(turn, talk)
            replies.append(reply)
            if reply.ending != "complete":
                break
        if talk.resets:
            reset_on_close(stream)
        if talk.lingers_s and replies[-1].ending == "complete":
            replies[-1] = attrs.evolve(replies[-1], closed_s=await connection.time_to_end(talk.lingers_s))
        return replies


async def _stream(step: Stream, port: int) -> Reply:
    """Opaque bytes: the reply's body is all that came, its ending how the connection ended."""
    began = trio.current_time()
    received, ending = b"", "silence"
    async with await _connect(port) as stream:

        async def say() -> None:
            try:
                for piece in step.pieces:
                    await trio.sleep(piece.wait_s)
                    await stream.send_all(piece.data)
                if step.ends:
                    await stream.send_eof()
            except trio.BrokenResourceError:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            with trio.move_on_after(step.reads_s):
                try:
                    while data := await stream.receive_some():
                        received += data
                    ending = "complete"
                except trio.BrokenResourceError:
                    ending = "reset"
            nursery.cancel_scope.cancel()
    return Reply(ending=ending, body=shown(received), whole_s=round(trio.current_time() - began, 4))


class _Connection:
    """The client's end of one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def take_turn(self, turn: Turn, talk: Talk) -> Reply:
        """Send the request's pieces, reading meanwhile, and return the response."""
        reading = _Reading(self, turn.method)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, turn)
            seconds = sum(piece.wait_s for piece in turn.pieces)
            patience_s = PATIENCE_S if talk.leaves_after_s is None else seconds + talk.leaves_after_s
            with trio.move_on_after(patience_s):
                await reading.run()
            nursery.cancel_scope.cancel()
        return reading.reply()

    async def _send(self, turn: Turn) -> None:
        try:
            for piece in turn.pieces:
                await trio.sleep(piece.wait_s)
                await self._stream.send_all(piece.data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # What was answered before tells why.

    async def time_to_end(self, seconds: float) -> float | None:
        """Return after how long the proxy ends the connection; None: it does not."""
        began = trio.current_time()
        with trio.move_on_after(seconds):
            try:
                while await self._stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
            return round(trio.current_time() - began, 4)
        return None

    async def receive(self) -> None:
        """Read more. Raises: Ended."""
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError:
            raise Ended("reset") from None
        if not data:
            raise Ended("cut")
        self._buffer += data

    async def until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self.receive()
        part, _, self._buffer = self._buffer.partition(mark)
        return part

    async def some(self, most: int) -> bytes:
        if not self._buffer:
            await self.receive()
        part, self._buffer = self._buffer[:most], self._buffer[most:]
        return part


class _Reading:
    """One response while it is being read: whatever happens, what has come so far is kept."""

    def __init__(self, connection: _Connection, method: str) -> None:
        self._connection = connection
        self._method = method
        self._began = trio.current_time()
        self._head_at = self._began
        self.ending = "silence"
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.interim: list[int] = []
        self.body = b""

    async def run(self) -> None:
        try:
            await self._read_head()
            await self._read_body()
            self.ending = "complete"
        except Ended as end:
            # Whether the end comes as a reset depends on what of the request was still unread: chance.
            self.ending = end.how if self.status else "no response"

    def reply(self) -> Reply:
        return Reply(
            ending=self.ending,
            status=self.status,
            headers=self.headers,
            body=shown(self.body),
            interim=tuple(self.interim),
            head_s=round(self._head_at - self._began, 4),
            whole_s=round(trio.current_time() - self._began, 4),
        )

    async def _read_head(self) -> None:
        while True:
            first, *lines = (await self._connection.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(first.split()[1])
            if status >= 200 or status == 101:
                break
            self.interim.append(status)
        self.status = status
        self.headers = tuple(
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
        self._head_at = trio.current_time()

    async def _read_body(self) -> None:
        by_name = dict(self.headers)
        if self._method == "HEAD" or self.status in NO_BODY_STATUSES or self.status == 101:
            return
        if "chunked" in by_name.get("transfer-encoding", ""):
            await self._read_chunks()
        elif "content-length" in by_name:
            await self._read_exactly(int(by_name["content-length"]))
        else:
            await self._read_to_end()

    async def _read_exactly(self, size: int) -> None:
        while size:
            part = await self._connection.some(size)
            self.body += part
            size -= len(part)

    async def _read_chunks(self) -> None:
        while True:
            size = int((await self._connection.until(b"\r\n")).split(b";")[0], 16)
            await self._read_exactly(size)
            await self._connection.until(b"\r\n")
            if not size:
                return

    async def _read_to_end(self) -> None:
        try:
            while True:
                self.body += await self._connection.some(1 << 20)
        except Ended as end:
            if end.how != "cut":
                raise
