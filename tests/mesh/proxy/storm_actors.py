"""Storm actors: a server that answers in every way there is, and a client that asks and leaves in every way there is."""

import contextlib
import re
import socket
import struct
from collections.abc import Callable
from random import Random

import trio

from mesh.model.names import Address

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
_ID = re.compile(rb"x-id: ([0-9a-z-]+)")
_LINE = b"x-id: %b-%06d\r\n"  # with the name of a client, of three characters
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"transfer-encoding: chunked\r\n"
# A body that looks like answers: what is left of it on a connection is taken for one.
_DECOY = _OK + b"%bcontent-length: 0\r\n\r\n"
_DECOYS = 20_000
_DECOYS_BYTES = _DECOYS * len(_DECOY.replace(b"%b", _LINE % (b"c00", 0)))

# What is answered (`%b`: the line that says to which request), and whether the connection ends behind it.
ANSWERS: dict[str, tuple[bytes, bool]] = {
    "fine": (_OK + b"%bcontent-length: 5\r\n\r\nhello", False),
    "chunks": (_CHUNKED + b"%b\r\n5\r\nhello\r\n0\r\n\r\n", False),
    "error": (b"HTTP/1.1 500 X\r\n%bcontent-length: 4\r\n\r\nsick", False),
    "overload": (b"HTTP/1.1 503 X\r\n%bcontent-length: 4\r\n\r\nsick", False),
    "overload, in pieces": (b"HTTP/1.1 503 X\r\n%btransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", True),
    "limited": (b"HTTP/1.1 429 X\r\n%bx-envoy-ratelimited: true\r\ncontent-length: 0\r\n\r\n", False),
    "unwell": (_OK + b"%bx-envoy-immediate-health-check-fail: true\r\ncontent-length: 0\r\n\r\n", False),
    "interim": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + b"HTTP/1.1 204 X\r\n%b\r\n", False),
    "not modified": (b"HTTP/1.1 304 X\r\n%bcontent-length: 77\r\n\r\n", False),
    "until the end": (_OK + b"%b\r\nbytes", True),
    "last one": (_OK + b"%bconnection: close\r\ncontent-length: 2\r\n\r\nok", True),
    "big": (_OK + b"%%bcontent-length: %d\r\n\r\n" % _DECOYS_BYTES + _DECOY * _DECOYS, False),
    "half a head": (b"HTTP/1.1 200 OK\r\n%bcontent-le", True),
    "half a body": (_OK + b"%bcontent-length: 100\r\n\r\nhalf", True),
    "half a chunk": (_CHUNKED + b"%b\r\nff\r\nhalf", True),
    "no chunk": (_CHUNKED + b"%b\r\nzz\r\n", True),
    "noise": (b"\xff\0noise%b", True),
    "one too many": (
        _OK + b"%bcontent-length: 2\r\n\r\nok" + _OK + b"x-id: evil\r\ncontent-length: 4\r\n\r\nevil",
        False,
    ),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\n%bconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
        True,
    ),
    "nothing": (b"", True),
}
_KINDS = ["fine"] * len(ANSWERS) + list(ANSWERS)


class StormyServer:
    """One endpoint: answers as chance wants it, at once or late, before the request is there or after it, or resets."""

    def __init__(self, random: Random) -> None:
        self.address = Address("127.0.0.1", 0)
        self._random = random

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = Address("127.0.0.1", listener.socket.getsockname()[1])
        await trio.serve_listeners(self._connection, [listener], task_status=_Ready(task_status))

    async def _connection(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(*_BROKEN):
            async with stream:
                if self._random.random() < 0.02:
                    reset_at_end(stream)
                    return
                while await self._request(stream):
                    pass

    async def _request(self, stream: trio.SocketStream) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some()
            if not data:
                return False
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        if b"Envoy/HC" in head:
            await stream.send_all(
                b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self._random.choice([200, 200, 200, 503])
            )
            return True
        random = self._random
        early = random.random() < 0.1
        if not early and not await self._take_body(stream, head, rest):
            return False
        await trio.sleep(random.choice([0.0, 0.0, 0.0, 0.05 * random.random(), 0.3]))
        answer, last = ANSWERS[random.choice(_KINDS)]
        found = _ID.search(head)
        data = answer.replace(b"%b", b"x-id: %b\r\n" % found[1] if found else b"")
        if head.startswith(b"HEAD") and not last:
            data = data[: data.find(b"\r\n\r\n", data.find(b"200")) + 4]
        await stream.send_all(data)
        if random.random() < 0.05:
            reset_at_end(stream)
            return False
        await trio.sleep(random.choice([0.0, 0.0, 0.01]))
        return not last and not (early and has_body(head))

    async def _take_body(self, stream: trio.SocketStream, head: bytes, body: bytes) -> bool:
        length = re.search(rb"content-length: (\d+)", head)
        while (length and len(body) < int(length[1])) or (b"chunked" in head and not body.endswith(b"0\r\n\r\n")):
            data = await stream.receive_some()
            if not data:
                return False
            body = (body + data)[-5:] if b"chunked" in head else body + data
        return True


class _Ready:
    """Tells of a start without saying on which listeners."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status = status

    def started(self, value: object = None) -> None:
        self._status.started()


def has_body(head: bytes) -> bool:
    """Does a request of the storm have one?"""
    return b"content-length" in head or b"chunked" in head


def reset_at_end(stream: trio.SocketStream) -> None:
    """Let the close of a stream be a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_STEERING = (
    b"x-envoy-max-retries: 4294967295\r\nx-envoy-retry-on: 5xx,reset\r\n",
    b"x-envoy-upstream-rq-timeout-ms: 50\r\n",
    b"x-envoy-upstream-rq-per-try-timeout-ms: 5\r\nx-envoy-hedge-on-per-try-timeout: true\r\nx-envoy-retry-on: 5xx\r\n",
    b"x-envoy-upstream-rq-timeout-ms: 0\r\nx-envoy-hedge-on-per-try-timeout: true\r\n",
    b"cookie: user=7\r\n",
    b"content-type: application/grpc\r\n",
)
# The pieces of a request; `%b`: method-less target and fields. Between pieces the client dawdles.
_ASKING: tuple[tuple[bytes, ...], ...] = (
    (b"GET %b\r\n",),
    (b"GET %b\r\n",),
    (b"HEAD %b\r\n",),
    (b"POST %bcontent-length: 3\r\n\r\nabc",),
    (b"POST %bcontent-length: 9\r\n\r\nabc", b"def", b"ghi"),
    (b"PUT %bcontent-length: 60000\r\n\r\n" + b"y" * 60_000,),
    (b"PUT %bcontent-length: 400000\r\n\r\n", b"y" * 200_000, b"y" * 200_000),
    (b"POST %btransfer-encoding: chunked\r\n\r\n3\r\na", b"bc\r\n", b"0\r\n\r\n"),
    (b"POST %btransfer-encoding: chunked\r\n\r\n3\r\na", b"bcd\r\n"),
    (b"POST %bexpect: 100-continue\r\ncontent-length: 3\r\n\r\n", b"abc"),
    (b"GET %bconnection: upgrade\r\nupgrade: websocket\r\n\r\n", b"hello"),
    (b"POST %bconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 9\r\n\r\nabc", b"defghi"),
    (b"GET %b",),
)


class StormyClient:
    """Opens connections to some ports, asks for some paths, and leaves at any moment. `mixed_up`: answers that were another's."""

    def __init__(self, random: Random, name: str, ports: tuple[int, ...], paths: tuple[bytes, ...]) -> None:
        self.mixed_up: list[bytes] = []
        self._random = random
        self._name = name
        self._ports = ports
        self._paths = paths
        self._count = 0

    async def run(self, over: Callable[[], bool]) -> None:
        """Go on until it is over."""
        random = self._random
        while not over():
            with contextlib.suppress(*_BROKEN):
                async with await trio.open_tcp_stream("127.0.0.1", random.choice(self._ports)) as stream:
                    with trio.move_on_after(random.choice([0.005, 0.02, 0.1, 0.5, 1.0])):
                        await self._talk(stream)
                    if random.random() < 0.3:
                        reset_at_end(stream)
            await trio.sleep(0.001)

    async def _talk(self, stream: trio.SocketStream) -> None:
        random, own, received = self._random, set(), b""
        for _ in range(random.randrange(1, 5)):
            self._count += 1
            line = _LINE % (self._name.encode(), self._count)
            own.add(line[6:-2])
            target = random.choice(self._paths) + b" HTTP/1.1\r\nhost: svc:80\r\n" + line
            target += random.choice((b"", b"", *_STEERING))
            for piece in random.choice(_ASKING):
                await stream.send_all(piece.replace(b"%b", target))
                await trio.sleep(random.choice([0.0, 0.0, 0.03 * random.random()]))
            if random.random() < 0.2:
                continue  # The next one comes early.
            with trio.move_on_after(random.choice([0.001, 0.02, 0.1, 0.4])):
                while data := await stream.receive_some(random.choice([10, 1000, 100_000])):
                    received += data  # Before it stops reading: without a gap, that names would seem to be cut by.
                    if random.random() >= 0.8:
                        break
        self.mixed_up += [found for found in _ID.findall(received) if found not in own and not _is_cut(found, own)]


def _is_cut(found: bytes, own: set[bytes]) -> bool:
    """Is it the beginning of an own name, of which not all was read?"""
    return any(each.startswith(found) for each in own)
