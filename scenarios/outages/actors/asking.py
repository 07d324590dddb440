"""How the actors of outages ask one another: one request on a connection of its own, through the sidecar."""

import trio

from mesh.model.errors import MeshError
from mesh.model.names import Address
from mesh.protocol.http1 import ClientExchange, Response, encode_request
from mesh.runtime.environment import Environment

ANSWER_S_MAX = 5.0
RECEIVE_BYTES = 64 * 1024


class NoAnswer(Exception):
    """Nobody there, or not in time, or not in HTTP."""


async def ask(
    env: Environment,
    address: Address,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    patience_s: float = ANSWER_S_MAX,
) -> Response:
    """Send a request and return the whole answer, of whatever status. Raises: NoAnswer."""
    exchange = ClientExchange()
    exchange.expect(method.encode())
    try:
        with trio.fail_after(patience_s):
            stream = await env.network.connect(address)
            async with stream:
                await stream.send_all(encode_request(method.encode(), target.encode(), b"actor", body=body))
                while True:
                    data = bytes(await stream.receive_some(RECEIVE_BYTES))
                    response = exchange.receive_data(data) if data else exchange.receive_eof()
                    if response is not None:
                        return response
    except (MeshError, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
        raise NoAnswer(str(error)) from error
