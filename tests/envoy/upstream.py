"""Upstreams that act a script on real loopback, and note what arrives."""

import socket
import struct
from collections.abc import Callable, Iterable

import attrs
import trio

from tests.envoy.outcome import Arrival
from tests.envoy.script import Answer, Door, Framing, Opaque, Stage, Upstream

BODY_SHOWN_MAX = 200
QUEUE_FILLERS = 4  # connections that fill the queue of a server that accepts nothing


class Gone(Exception):
    """The proxy has ended the connection."""


@attrs.define(eq=False)
class Seen:
    """What one upstream has seen."""

    requests: int = 0
    connections: int = 0
    by_path: dict[str, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Servers:
    """All upstreams of one case. `play_in_order`: scripts are given out in the order in which upstreams get their first request.

    So a case is free of where a balancer happens to begin: the first upstream that is asked plays the first script.
    """

    scripts: tuple[Upstream, ...]
    play_in_order: bool = False
    addresses: dict[str, tuple[str, int]] = attrs.field(factory=dict)
    _arrivals: list[Arrival] = attrs.field(factory=list)
    _seen: dict[str, Seen] = attrs.field(factory=dict)
    _roles: dict[str, Upstream] = attrs.field(factory=dict)
    _began_at: float = 0.0

    async def start(self, nursery: trio.Nursery) -> None:
        """Listen with all of them."""
        for script in self.scripts:
            sock = _bind(script)
            self.addresses[script.name] = sock.getsockname()
            if script.door is Door.SHUT:
                nursery.start_soon(_stay_shut, sock)
            elif script.door is Door.SILENT:
                nursery.start_soon(_stay_silent, sock)
            else:
                sock.listen(512)
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
                nursery.start_soon(self._accept, script, listener)
        self.begin()

    def begin(self) -> None:
        """Forget everything: a case begins."""
        self._arrivals.clear()
        self._seen = {script.name: Seen() for script in self.scripts}
        self._roles = {} if self.play_in_order else {script.name: script for script in self.scripts}
        self._began_at = trio.current_time()

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        return tuple(self._arrivals)

    @property
    def connections(self) -> dict[str, int]:
        counts = {self._role_name(name): seen.connections for name, seen in self._seen.items() if seen.connections}
        return dict(sorted(counts.items()))

    def played_by(self, port: int) -> str:
        """Return the name under which the case knows the upstream at this port; "" for none."""
        for name, (_, bound) in self.addresses.items():
            if bound == port:
                return self._role_name(name)
        return ""

    def _role_name(self, name: str) -> str:
        return self._roles[name].name if name in self._roles else name

    def _role(self, name: str) -> Upstream:
        if name not in self._roles:
            self._roles[name] = self.scripts[len(self._roles)]
        return self._roles[name]

    async def _accept(self, script: Upstream, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery, listener:
            while True:
                nursery.start_soon(self._serve, script, await listener.accept())

    async def _serve(self, script: Upstream, stream: trio.SocketStream) -> None:
        # A late end of a connection belongs to no case any more.
        try:
            async with stream:
                if script.opaque is not None:
                    self._count_connection(script.name)
                    await _serve_opaque(stream, script.opaque)
                else:
                    await _HttpServer(self, script.name, stream).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, Gone):
            return

    def _count_connection(self, name: str) -> int:
        self._seen[name].connections += 1
        return self._seen[name].connections

    def _answer(self, name: str, target: str) -> tuple[Answer, bool]:
        """Return how to answer, and whether the request counts as an arrival."""
        path = target.partition("?")[0]
        for script in self.scripts:
            if script.name != name:
                continue
            for special, answers in script.by_path:
                if special == path:
                    count = self._seen[name].by_path.get(path, 0)
                    self._seen[name].by_path[path] = count + 1
                    return answers[min(count, len(answers) - 1)], False
        role = self._role(name)
        self._seen[name].requests += 1
        return role.answers[min(self._seen[name].requests, len(role.answers)) - 1], True

    def _note(self, arrival: Arrival) -> int:
        self._arrivals.append(arrival)
        return len(self._arrivals) - 1

    def _amend(self, index: int | None, **changes: object) -> None:
        # Of a case that has ended meanwhile nothing is changed.
        if index is not None and index < len(self._arrivals):
            self._arrivals[index] = attrs.evolve(self._arrivals[index], **changes)  # type: ignore[arg-type]


class _HttpServer:
    """One connection of one upstream."""

    def __init__(self, servers: Servers, name: str, stream: trio.SocketStream) -> None:
        self._servers = servers
        self._name = name
        self._stream = stream
        self._buffer = b""
        self._connection = 0  # counted with its first request that is no health check

    async def run(self) -> None:
        while True:
            await self._serve_request()

    async def _serve_request(self) -> None:
        await self._fill(lambda: b"\r\n\r\n" in self._buffer)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        answer, counts = self._servers._answer(self._name, target)
        index = self._arrive(method, target, headers) if counts else None
        try:
            body = b""
            if not answer.early:
                body = await self._read_body(headers)
                self._servers._amend(index, body=shown(body))
            await self._wait(answer.wait_s)
            ended = await self._write(answer, method)
        except (Gone, trio.BrokenResourceError):
            self._servers._amend(index, cut=True)
            raise
        if ended:
            raise Gone
        if answer.early:
            self._servers._amend(index, body=shown(await self._read_body(headers)))

    def _arrive(self, method: str, target: str, headers: tuple[tuple[str, str], ...]) -> int:
        servers = self._servers
        if not self._connection:
            self._connection = servers._count_connection(self._name)
        return servers._note(
            Arrival(
                upstream=servers._role_name(self._name),
                connection=self._connection,
                at_s=round(trio.current_time() - servers._began_at, 4),
                method=method,
                target=target,
                headers=headers,
            )
        )

    async def _fill(self, enough: Callable[[], bool]) -> None:
        while not enough():
            data = await self._stream.receive_some()
            if not data:
                raise Gone
            self._buffer += data

    async def _read_body(self, headers: Iterable[tuple[str, str]]) -> bytes:
        by_name = {name.lower(): value for name, value in headers}
        if "chunked" in by_name.get("transfer-encoding", ""):
            return await self._read_chunks()
        length = int(by_name.get("content-length", "0"))
        await self._fill(lambda: len(self._buffer) >= length)
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    async def _read_chunks(self) -> bytes:
        body = b""
        while True:
            await self._fill(lambda: b"\r\n" in self._buffer)
            size_text, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(size_text.split(b";")[0], 16)
            await self._fill(lambda size=size: len(self._buffer) >= size + 2)  # type: ignore[misc]
            body, self._buffer = body + self._buffer[:size], self._buffer[size + 2 :]
            if not size:
                return body

    async def _wait(self, seconds: float) -> None:
        """Wait, but see when the proxy ends the connection meanwhile. Raises: Gone."""
        with trio.move_on_after(seconds):
            while seconds:
                data = await self._stream.receive_some()
                if not data:
                    raise Gone
                self._buffer += data

    async def _write(self, answer: Answer, method: str) -> bool:
        """Act the answer; return whether the connection is to end."""
        if answer.ends is Stage.REQUEST:
            return self._end(answer)
        for status in answer.interim:
            await self._stream.send_all(f"HTTP/1.1 {status} Interim\r\n\r\n".encode())
        if answer.raw is not None:
            await self._stream.send_all(answer.raw)
            if answer.echoes:
                await _echo(self._stream, self._buffer)
            return answer.ends is not None and self._end(answer)
        # A response without a body may say how long it would be.
        body = b"" if method == "HEAD" or answer.status in (204, 304) else answer.body
        half = (len(body) + 1) // 2
        parts = [_head(answer), _framed(body[:half], answer.framing), _framed(body[half:], answer.framing)]
        if body and answer.framing is Framing.CHUNKED:
            parts[2] += b"0\r\n\r\n"
        if answer.ends in (Stage.HEAD, Stage.HALF):
            for part in parts[: 1 if answer.ends is Stage.HEAD else 2]:
                await self._stream.send_all(part)
            await trio.sleep(0.05)  # Else what was written and the reset arrive as one.
            return self._end(answer)
        await self._send_apart(parts, (answer.body_wait_s, answer.half_wait_s))
        return (answer.ends is Stage.WHOLE or answer.framing is Framing.CLOSE) and self._end(answer)

    async def _send_apart(self, parts: list[bytes], waits_s: tuple[float, float]) -> None:
        """Send the parts with these waits between them, and in one piece where there is none."""
        pending = parts[0]
        for part, wait_s in zip(parts[1:], waits_s, strict=True):
            if wait_s:
                await self._stream.send_all(pending)
                await self._wait(wait_s)
                pending = b""
            pending += part
        if pending:
            await self._stream.send_all(pending)

    def _end(self, answer: Answer) -> bool:
        if answer.resets:
            reset_on_close(self._stream)
        return True


def shown(body: bytes) -> str:
    """Return a body as outcomes show it: short ones whole, long ones by their length."""
    return body.decode("latin-1") if len(body) <= BODY_SHOWN_MAX else f"<{len(body)} bytes>"


def reset_on_close(stream: trio.SocketStream) -> None:
    """Make the next close a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bind(script: Upstream) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((script.host, script.port))
    return sock


async def _stay_shut(sock: socket.socket) -> None:
    """Keep a port that nobody listens on: whoever connects is refused."""
    with sock:
        await trio.sleep_forever()


async def _stay_silent(sock: socket.socket) -> None:
    """Keep the queue of a listening socket full: the kernel answers nobody else."""
    sock.listen(0)
    fillers = []
    try:
        for _ in range(QUEUE_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        await trio.sleep_forever()
    finally:
        for filler in fillers:
            filler.close()
        sock.close()


async def _serve_opaque(stream: trio.SocketStream, script: Opaque) -> None:
    with trio.move_on_after(float("inf") if script.ends_after_s is None else script.ends_after_s):
        if script.greeting:
            await stream.send_all(script.greeting)
        if script.echoes:
            await _echo(stream, b"")
        else:
            while await stream.receive_some():
                pass
        if script.farewell:
            await stream.send_all(script.farewell)
        await stream.send_eof()
    if script.resets:
        reset_on_close(stream)


async def _echo(stream: trio.SocketStream, early: bytes) -> None:
    if early:
        await stream.send_all(early)
    while data := await stream.receive_some():
        await stream.send_all(data)


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in answer.headers)]
    if answer.framing is Framing.CHUNKED:
        lines.append("transfer-encoding: chunked")
    elif answer.framing is Framing.LENGTH and answer.status != 204:
        lines.append(f"content-length: {len(answer.body) if answer.length is None else answer.length}")
    return "\r\n".join([*lines, "", ""]).encode()


def _framed(data: bytes, framing: Framing) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data and framing is Framing.CHUNKED else data
