"""The operating system's network for ordinary Trio tasks. Pumps use the reactor."""

import errno
import socket
from collections.abc import Sequence

import trio
from trio.abc import HalfCloseableStream

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from mesh.runtime.environment import StreamListener
from mesh.runtime.real.listening import listen_on, local_address

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_PAUSE_S = 0.1


class RealNetwork:
    """See `mesh.runtime.environment.Network`."""

    async def connect(self, address: Address) -> HalfCloseableStream:
        try:
            return await trio.open_tcp_stream(address.host, address.port)
        except OSError as error:
            raise ConnectFailed from error

    async def listen(self, address: Address) -> StreamListener:
        return RealListener(listen_on(address))

    async def resolve(self, name: str) -> Sequence[str]:
        try:
            found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ConnectFailed("dns resolution failure") from error
        return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class RealListener:
    """A listening socket for Trio tasks."""

    def __init__(self, listener: socket.socket) -> None:
        self.address = local_address(listener)
        self._socket = trio.socket.from_stdlib_socket(listener)

    async def accept(self) -> HalfCloseableStream:
        """Return the next connection. Raises: trio.ClosedResourceError."""
        while True:
            try:
                accepted, _ = await self._socket.accept()
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise trio.ClosedResourceError from error
                if error.errno in _OUT_OF_FILES:
                    await trio.sleep(_ACCEPT_PAUSE_S)
                continue  # Otherwise the peer gave up while it waited in the backlog.
            return trio.SocketStream(accepted)

    async def aclose(self) -> None:
        self._socket.close()
        await trio.lowlevel.checkpoint()
