"""Keeps the connections of hosts without power open and silent: a process that is killed would say goodbye to its peers.

Just before its end a process hands its sockets over (SCM_RIGHTS). While nobody has them but us, the kernel ends nothing, and
peers hear as much as from a host whose power was cut. When the host is back they are reset, as a host does that knows nothing
of the connections of its life before.
"""

import socket
import struct
from collections.abc import Sequence

import trio

_FDS_MAX = 250  # Source: SCM_MAX_FD of Linux is 253.
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 s. Closing then sends a reset.
_NAME_BYTES = 256
_FD_BYTES = struct.calcsize("i")


class Graveyard:
    """The runner's side."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._kept: dict[str, list[int]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take what processes hand over, until cancelled; then close everything."""
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            await listening.bind(self.path)
            listening.listen(512)
            task_status.started()
            try:
                async with trio.open_nursery() as nursery:
                    while True:
                        accepted, _ = await listening.accept()
                        nursery.start_soon(self._take, accepted)
            finally:
                for name in list(self._kept):
                    self.release(name)

    async def _take(self, giving: trio.socket.SocketType) -> None:
        with giving:
            try:
                while await self._take_some(giving):
                    await giving.send(b".")
            except OSError:
                return  # It was killed meanwhile; what had arrived is kept.

    async def _take_some(self, giving: trio.socket.SocketType) -> bool:
        space = socket.CMSG_LEN(_FDS_MAX * _FD_BYTES)
        name, ancillary, _, _ = await giving.recvmsg(_NAME_BYTES, space)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = struct.unpack(f"{len(data) // _FD_BYTES}i", data)
                self._kept.setdefault(name.decode(), []).extend(fds)
        return bool(name)

    def release(self, name: str) -> None:
        """Reset the connections of a host that is back."""
        for fd in self._kept.pop(name, ()):
            with socket.socket(fileno=fd) as kept:
                try:
                    kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                except OSError:
                    pass  # It has ended by itself.


def bury(path: str, name: str, fds: Sequence[int]) -> None:
    """Hand sockets over, and return when they are there. Blocks: whoever calls it is about to be killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giving:
        giving.connect(path)
        for start in range(0, len(fds), _FDS_MAX):
            socket.send_fds(giving, [name.encode()], fds[start : start + _FDS_MAX])
            giving.recv(1)
