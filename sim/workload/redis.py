"""A Redis-like cache: one thread, commands in order of arrival. Server and client for pumps.

Speaks enough RESP2 for one command a round trip. What is simulated is its time, not its data: of keys with a number, such as
`users:17`, it knows which ones were set; any other key is always there.
Source: Redis serialization protocol specification (RESP2): arrays of bulk strings in, one reply out.
"""

from mesh.model.errors import BrokenConnection, RemoteProtocolError
from mesh.runtime.environment import Connection
from sim.workload.database import DatabaseInstance

COMMAND_BYTES_MAX = 65_536
_REPLY_BY_VERB = {"GET": b"$5\r\nvalue\r\n", "SET": b"+OK\r\n", "DEL": b":1\r\n", "INCR": b":1\r\n"}
_BUSY = b"-ERR max number of clients reached\r\n"
_NIL = b"$-1\r\n"


def encode_command(verb: str, key: str) -> bytes:
    """Write one command as an array of bulk strings."""
    words = [verb, key, "value"] if verb == "SET" else [verb, key]
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def command_end(buffer: bytes) -> int:
    """Return the size of the command that `buffer` begins with, 0 while it is incomplete. Raises: RemoteProtocolError."""
    if len(buffer) > COMMAND_BYTES_MAX:
        raise RemoteProtocolError(f"a command of more than {COMMAND_BYTES_MAX} bytes")
    position = buffer.find(b"\r\n") + 2
    if position < 2:
        return 0
    if buffer[:1] != b"*":
        raise RemoteProtocolError("a command is an array of bulk strings")
    for _ in range(_length(buffer[1 : position - 2])):
        line = buffer.find(b"\r\n", position)
        if line < 0:
            return 0
        if buffer[position : position + 1] != b"$":
            raise RemoteProtocolError("a command's words are bulk strings")
        position = line + 2 + _length(buffer[position + 1 : line]) + 2
    return position if position <= len(buffer) else 0


def reply_end(buffer: bytes) -> int:
    """Return the size of the reply that `buffer` begins with, 0 while it is incomplete. Raises: RemoteProtocolError."""
    line = buffer.find(b"\r\n") + 2
    if line < 2:
        return 0
    if buffer[:1] != b"$":
        return line
    if buffer[1:2] == b"-":
        return line
    end = line + _length(buffer[1 : line - 2]) + 2
    return end if end <= len(buffer) else 0


def _length(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 7:
        raise RemoteProtocolError(f"{digits[:20]!r} is not a length")
    return int(digits)


async def serve_redis(connection: Connection, instance: DatabaseInstance) -> None:
    """Answer the commands of one client until it leaves."""
    buffer = b""
    while True:
        size = command_end(buffer)
        while not size:
            data = await connection.receive()
            if not data:
                return
            buffer += data
            size = command_end(buffer)
        words = buffer[:size].split(b"\r\n", 5)
        verb = words[2].decode("latin-1").upper()
        buffer = buffer[size:]
        served = await instance.execute(verb)
        reply = _REPLY_BY_VERB.get(verb, b"+OK\r\n")
        if len(words) > 5 and b":" in words[4] and not instance.keys.apply(verb, words[4]):
            reply = _NIL
        await connection.send(reply if served else _BUSY)


async def call_redis(connection: Connection, command: bytes) -> bool:
    """Send one command; return whether the reply is no error. Raises: BrokenConnection, RemoteProtocolError."""
    return (await _reply_to(connection, command))[:1] != b"-"


async def ask_redis(connection: Connection, command: bytes) -> bool:
    """Send one command; return whether the reply is neither an error nor nil. Raises: BrokenConnection, RemoteProtocolError."""
    reply = await _reply_to(connection, command)
    return reply[:1] != b"-" and reply != _NIL


async def _reply_to(connection: Connection, command: bytes) -> bytes:
    await connection.send(command)
    buffer = b""
    while True:
        data = await connection.receive()
        if not data:
            raise BrokenConnection
        buffer += data
        size = reply_end(buffer)
        if size:
            return buffer
