"""Redis serialization protocol, version 2: commands and replies as values.

Strict and bounded; inline commands and version 3 types are refused.
Source: redis.io, "Redis serialization protocol specification".
"""

import re
from collections.abc import Iterable

import attrs

from mesh.model.errors import LocalProtocolError, RemoteProtocolError

BULK_BYTES_MAX = 16 * 1024 * 1024
ELEMENTS_MAX = 1024 * 1024
DEPTH_MAX = 8
VALUE_BYTES_MAX = 64 * 1024 * 1024
_LINE_BYTES_MAX = 65536  # Redis's own limit for inline text.

_KINDS = frozenset({b"", b"+", b"-", b":", b"$", b"*"})
_NUMBER = re.compile(rb"-?[0-9]{1,19}")


@attrs.frozen
class SimpleString:
    """A short status such as OK: no line breaks."""

    text: bytes


@attrs.frozen
class Error:
    """A reply that the command failed: a code in capitals, then words."""

    text: bytes


# A bulk string is bytes, null is None, an array is a tuple.
Reply = SimpleString | Error | int | bytes | None | tuple["Reply", ...]

OK = SimpleString(b"OK")


def encode_command(arguments: Iterable[bytes]) -> bytes:
    """Write a command as an array of bulk strings. Raises: LocalProtocolError when it is empty."""
    parts = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    if not parts:
        raise LocalProtocolError("a command needs a name")
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def encode_reply(reply: Reply) -> bytes:
    """Write one reply. Raises: LocalProtocolError for a line break in a line."""
    match reply:
        case None:
            return b"$-1\r\n"
        case SimpleString(text) | Error(text):
            if b"\r" in text or b"\n" in text:
                raise LocalProtocolError("a line break in a simple string or error")
            return (b"+" if isinstance(reply, SimpleString) else b"-") + text + b"\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case tuple():
            return b"*%d\r\n%b" % (len(reply), b"".join(map(encode_reply, reply)))


class CommandReader:
    """The server's side: bytes in, whole commands out."""

    def __init__(self) -> None:
        self._values = _ValueReader()

    def receive_data(self, data: bytes) -> list[tuple[bytes, ...]]:
        """Take bytes, return the commands that are now complete. Raises: RemoteProtocolError."""
        return [_command(value) for value in self._values.receive_data(data)]


class ReplyReader:
    """The client's side: bytes in, whole replies out."""

    def __init__(self) -> None:
        self._values = _ValueReader()

    def receive_data(self, data: bytes) -> list[Reply]:
        """Take bytes, return the replies that are now complete. Raises: RemoteProtocolError."""
        return self._values.receive_data(data)


def _command(value: Reply) -> tuple[bytes, ...]:
    arguments = tuple(part for part in value if isinstance(part, bytes)) if isinstance(value, tuple) else ()
    if not isinstance(value, tuple) or not arguments or len(arguments) != len(value):
        raise RemoteProtocolError("a command is a non-empty array of bulk strings")
    return arguments


class _Open:
    """An array of which elements are still to come."""

    __slots__ = ("elements", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.elements: list[Reply] = []


class _ValueReader:
    """Reads values one after another. Arrays that are open stand on a stack, so that no byte is read twice."""

    __slots__ = ("_arrived", "_arrived_bytes", "_open", "_value_bytes", "_wanted_bytes")

    def __init__(self) -> None:
        self._arrived: list[bytes] = []
        self._arrived_bytes = 0
        self._wanted_bytes = 0  # Below that, what has arrived cannot be a whole value.
        self._value_bytes = 0  # read so far of the outermost value
        self._open: list[_Open] = []

    def receive_data(self, data: bytes) -> list[Reply]:
        self._arrived.append(data)
        self._arrived_bytes += len(data)
        if self._arrived_bytes < self._wanted_bytes:
            return []
        buffer = b"".join(self._arrived)
        self._wanted_bytes = 0
        position = 0
        complete: list[Reply] = []
        while (found := self._read(buffer, position)) is not None:
            value, end = found
            self._value_bytes += end - position
            position = end
            if self._value_bytes > VALUE_BYTES_MAX:
                raise RemoteProtocolError(f"a Redis value of more than {VALUE_BYTES_MAX} bytes")
            if isinstance(value, _Open):
                if len(self._open) == DEPTH_MAX:
                    raise RemoteProtocolError(f"Redis arrays nested more than {DEPTH_MAX} deep")
                self._open.append(value)
            else:
                complete += self._close(value)
        self._arrived = [buffer[position:]]
        self._arrived_bytes = len(buffer) - position
        return complete

    def _close(self, value: Reply) -> list[Reply]:
        """Put a value into the array that waits for it; return the value that this completes, if any."""
        while self._open:
            waiting = self._open[-1]
            waiting.elements.append(value)
            if len(waiting.elements) < waiting.size:
                return []
            self._open.pop()
            value = tuple(waiting.elements)
        self._value_bytes = 0
        return [value]

    def _read(self, buffer: bytes, position: int) -> "tuple[Reply | _Open, int] | None":
        """Return the value, or the beginning of an array, at `position`, and where the next begins; None if incomplete."""
        kind = buffer[position : position + 1]
        if kind not in _KINDS:
            raise RemoteProtocolError("not the beginning of a Redis value")
        end = buffer.find(b"\r\n", position, position + _LINE_BYTES_MAX + 2)
        if end < 0:
            if len(buffer) - position >= _LINE_BYTES_MAX + 2:
                raise RemoteProtocolError("a Redis line that is too long")
            return None
        line, next_position = buffer[position + 1 : end], end + 2
        if kind == b"+" or kind == b"-":
            if line.find(b"\r") >= 0 or line.find(b"\n") >= 0:
                raise RemoteProtocolError("a bare line break in a Redis line")
            return (SimpleString(line) if kind == b"+" else Error(line)), next_position
        if _NUMBER.fullmatch(line) is None:
            raise RemoteProtocolError("not a Redis number")
        number = int(line)
        if kind == b":":
            return number, next_position
        if number == -1:
            return None, next_position
        if number < 0 or number > (BULK_BYTES_MAX if kind == b"$" else ELEMENTS_MAX):
            raise RemoteProtocolError("a Redis length that is not allowed")
        if kind == b"*":
            return (_Open(number) if number else ()), next_position
        return self._read_bulk(buffer, position, next_position, number)

    def _read_bulk(self, buffer: bytes, position: int, start: int, size: int) -> tuple[bytes, int] | None:
        end = start + size
        line_end = buffer[end : end + 2]
        if line_end == b"\r\n":
            return buffer[start:end], end + 2
        if line_end not in (b"", b"\r"):
            raise RemoteProtocolError("a Redis bulk string that does not end where it said")
        self._wanted_bytes = end + 2 - position
        return None
