"""HTTP/1.1 as applications speak it to their sidecar: pooled keep-alive connections, one request at a time on each. For pumps.

Reads responses whole and keeps nothing of them but the head. No retries: those are the mesh's.
"""

from typing import cast

from mesh.model.errors import BrokenConnection
from mesh.model.names import Address
from mesh.protocol.http1 import BodyKind, BodyReader, ResponseHead, ResponseParser
from mesh.runtime.environment import Reactor
from sim.workload.connection_pool import CONNECTIONS_MAX, ConnectionPool, PooledConnection


class HttpClient:
    """Requests to one address."""

    def __init__(self, reactor: Reactor, address: Address, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self.pool = ConnectionPool(reactor, address, connections_max=connections_max)

    async def request(self, message: bytes) -> ResponseHead:
        """Send a whole request and return the response's head. The pump's deadline applies.

        Raises: BrokenConnection (ConnectFailed), RemoteProtocolError, DeadlineExceeded. The connection is then dropped.
        """
        pool = self.pool
        pooled = pool.take_idle() or await pool.acquire()
        try:
            connection = pooled.connection
            await connection.send(message)
            parser = cast(ResponseParser | None, pooled.codec)
            if parser is None:
                parser = pooled.codec = ResponseParser()
            method = message[: message.index(b" ")]
            buffer = await connection.receive()
            parsed = parser.parse(buffer, method)
            while parsed is None or parsed[0].interim:
                if parsed is not None:
                    buffer = buffer[parsed[1] :]
                more = await connection.receive()
                if not more:
                    raise BrokenConnection
                buffer += more
                parsed = parser.parse(buffer, method)
            head, size = parsed
            # Most answers are whole already.
            if head.body is BodyKind.LENGTH and len(buffer) - size == head.body_length:
                pass
            elif head.body is not BodyKind.NONE:
                await self._skip_body(pooled, head, buffer[size:])
        except BaseException:
            pool.discard(pooled)
            raise
        if head.keep_alive and head.body is not BodyKind.UNTIL_CLOSE:
            pool.release(pooled)
        else:
            pool.discard(pooled)
        return head

    @staticmethod
    async def _skip_body(pooled: PooledConnection, head: ResponseHead, data: bytes) -> None:
        reader = BodyReader(head.body, head.body_length)
        _, done, _ = reader.feed(data)
        while not done:
            data = await pooled.connection.receive()
            if not data:
                reader.receive_eof()
                return
            _, done, _ = reader.feed(data)

    def close(self) -> None:
        """Close what is idle."""
        self.pool.close()
