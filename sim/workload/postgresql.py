"""A PostgreSQL-like database: statements served at once up to its limit. Server and client for pumps.

Speaks enough of protocol 3.0 for start-up without a password and one simple query a round trip. Stores nothing: what is
simulated is its time. Source: PostgreSQL documentation, Frontend/Backend Protocol, message formats.
"""

import struct

from mesh.model.errors import BrokenConnection, RemoteProtocolError
from mesh.runtime.environment import Connection
from sim.workload.database import DatabaseInstance

MESSAGE_BYTES_MAX = 65_536
_PROTOCOL_3 = 196_608


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


_READY = _message(b"Z", b"I")
_GREETING = (
    _message(b"R", struct.pack("!I", 0))
    + _message(b"S", b"server_version\x0016.0\x00")
    + _message(b"K", struct.pack("!II", 1, 1))
    + _READY
)
# One column `id`, type int4 in text format, and one row.
_ROW = _message(b"T", struct.pack("!H", 1) + b"id\x00" + struct.pack("!IHIhih", 0, 0, 23, 4, -1, 0)) + _message(
    b"D", struct.pack("!HI", 1, 1) + b"1"
)
_ANSWER_BY_VERB = {
    "SELECT": _ROW + _message(b"C", b"SELECT 1\x00") + _READY,
    "INSERT": _message(b"C", b"INSERT 0 1\x00") + _READY,
    "UPDATE": _message(b"C", b"UPDATE 1\x00") + _READY,
    "DELETE": _message(b"C", b"DELETE 1\x00") + _READY,
}
# SQLSTATE 53300, too_many_connections: said at the start-up of one too many, and then the connection ends.
_NO_ROOM = _message(b"E", b"SFATAL\x00C53300\x00Msorry, too many clients already\x00\x00")
_BUSY = _message(b"E", b"SERROR\x00C53300\x00Mtoo many statements wait\x00\x00") + _READY
_SQL_BY_VERB = {
    "SELECT": "SELECT * FROM {} WHERE id = 1",
    "INSERT": "INSERT INTO {} VALUES (1)",
    "UPDATE": "UPDATE {} SET n = n - 1 WHERE id = 1",
    "DELETE": "DELETE FROM {} WHERE id = 1",
}
# Where the name of the table stands: SELECT * FROM table, UPDATE table, INSERT INTO table, DELETE FROM table.
_TABLE_AT_BY_VERB = {"SELECT": 3, "UPDATE": 1}
_USER = b"user\x00service\x00\x00"
STARTUP = struct.pack("!II", len(_USER) + 8, _PROTOCOL_3) + _USER


def encode_query(verb: str, table: str) -> bytes:
    """Write one simple query."""
    return _message(b"Q", _SQL_BY_VERB[verb].format(table).encode() + b"\x00")


def message_end(buffer: bytes, *, kind_bytes: int = 1) -> int:
    """Return the size of the message that `buffer` begins with, 0 while it is incomplete. A start-up message has no kind."""
    if len(buffer) < kind_bytes + 4:
        return 0
    (length,) = struct.unpack_from("!I", buffer, kind_bytes)
    if not 4 <= length <= MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(f"a message of {length} bytes")
    end = kind_bytes + int(length)
    return end if end <= len(buffer) else 0


async def serve_postgresql(connection: Connection, instance: DatabaseInstance) -> None:
    """Answer the statements of one client until it leaves."""
    buffer = await _receive(connection, b"", kind_bytes=0)
    if buffer is None:
        return
    buffer = buffer[message_end(buffer, kind_bytes=0) :]
    if not instance.accepts:
        await connection.send(_NO_ROOM)
        return
    instance.open += 1
    try:
        await _serve_session(connection, instance, buffer)
    finally:
        instance.open -= 1


async def _serve_session(connection: Connection, instance: DatabaseInstance, buffer: bytes) -> None:
    await connection.send(_GREETING)
    while True:
        received = await _receive(connection, buffer, kind_bytes=1)
        if received is None or received[:1] == b"X":
            return
        end = message_end(received)
        words = received[5 : end - 1].decode("latin-1").split(" ", 4)
        verb = words[0].upper()
        place = _TABLE_AT_BY_VERB.get(verb, 2)
        table = words[place] if place < len(words) else ""
        buffer = received[end:]
        served = await instance.execute(verb, table)
        await connection.send(_ANSWER_BY_VERB.get(verb, _ANSWER_BY_VERB["UPDATE"]) if served else _BUSY)


async def _receive(connection: Connection, buffer: bytes, *, kind_bytes: int) -> bytes | None:
    """Return a buffer that begins with a whole message, None at the end of the stream."""
    while not message_end(buffer, kind_bytes=kind_bytes):
        data = await connection.receive()
        if not data:
            return None
        buffer += data
    return buffer


async def open_postgresql(connection: Connection) -> None:
    """Start a session on a fresh connection. Raises: BrokenConnection, RemoteProtocolError."""
    await connection.send(STARTUP)
    if not await _until_ready(connection):
        raise RemoteProtocolError("the database refused the session")


async def call_postgresql(connection: Connection, query: bytes) -> bool:
    """Send one statement; return whether it succeeded. Raises: BrokenConnection, RemoteProtocolError."""
    await connection.send(query)
    return await _until_ready(connection)


async def _until_ready(connection: Connection) -> bool:
    """Read up to ReadyForQuery; return whether no error came before it."""
    buffer, position, good = b"", 0, True
    while True:
        data = await connection.receive()
        if not data:
            raise BrokenConnection
        buffer += data
        while size := message_end(buffer[position:]):
            kind = buffer[position : position + 1]
            position += size
            if kind == b"E":
                good = False
            elif kind == b"Z":
                return good
