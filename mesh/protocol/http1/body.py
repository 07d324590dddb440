"""Where a body ends: by count, by chunks, or by the end of the connection. Bytes go on as they came, checked strictly.

Rules of this file: bytes are handed on only after the framing around them was judged; a partial line is held back
(bounded); nothing after the body's end is touched. Source: RFC 9112 sections 6 and 7.
"""

import enum
import re

from mesh.model.errors import LocalProtocolError, RemoteProtocolError

MAX_CHUNK_LINE_BYTES = 1024
MAX_TRAILER_BYTES = 8192


class BodyKind(enum.Enum):
    """How the end of a body is found."""

    NONE = "none"  # No body byte follows, whatever the fields say (HEAD, 204, 304, length 0).
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class _Part(enum.Enum):
    SIZE = 1  # at the start of a chunk-size line
    DATA = 2  # within a chunk's data
    DATA_END = 3  # at the line end after a chunk's data
    TRAILER = 4  # at the start of a trailer line, or of the empty line that ends the body


_LINE_BYTES_MAX = {_Part.SIZE: MAX_CHUNK_LINE_BYTES, _Part.DATA_END: 0, _Part.TRAILER: MAX_TRAILER_BYTES}

# Fifteen digits: any size fits 64 bits for whoever reads this after us. No white space: readers disagree on it.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e])*"'
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*\r\n")
_TRAILER_LINE = re.compile(rb"(" + _TOKEN + rb"):[\t \x21-\x7e\x80-\xff]*")
# Source: RFC 9110 section 6.5.1: what frames or routes a message cannot arrive after it.
_NO_TRAILERS = frozenset(
    {b"transfer-encoding", b"content-length", b"host", b"connection", b"te", b"trailer", b"upgrade", b"authorization"}
)


class BodyReader:
    """Finds the end of one body in the bytes that arrive. `done` turns true with its last byte."""

    __slots__ = ("_held", "_left", "_part", "_trailer_bytes", "done", "kind")

    def __init__(self, kind: BodyKind, length: int = 0) -> None:
        self.kind = kind
        self.done = kind is BodyKind.NONE or (kind is BodyKind.LENGTH and length == 0)
        self._left = length  # bytes still to come of the body (LENGTH) or of the chunk (CHUNKED)
        self._part = _Part.SIZE
        self._held = b""
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """Take bytes; return (bytes to send on as they are, done, bytes after the body). Raises: RemoteProtocolError."""
        if self.kind is not BodyKind.CHUNKED or self.done:
            return self._count(data)
        return self._scan(data, None)

    def decode(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """Like `feed`, but return the payload without its framing: for those who consume the body."""
        if self.kind is not BodyKind.CHUNKED or self.done:
            return self._count(data)
        payload: list[bytes] = []
        _, done, rest = self._scan(data, payload)
        return b"".join(payload), done, rest

    def receive_eof(self) -> None:
        """Judge the end of the stream. Raises: RemoteProtocolError when the body was not complete."""
        if self.kind is BodyKind.UNTIL_CLOSE:
            self.done = True
        elif not self.done:
            raise RemoteProtocolError("the stream ended within a body", status=502)

    def _count(self, data: bytes) -> tuple[bytes, bool, bytes]:
        if self.done:
            return b"", True, data
        if self.kind is BodyKind.UNTIL_CLOSE:
            return data, False, b""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data, False, b""
        self.done = True
        if left == 0:
            return data, True, b""
        return data[: self._left], True, data[self._left :]

    def _scan(self, data: bytes, payload: list[bytes] | None) -> tuple[bytes, bool, bytes]:
        if self._held:
            data, self._held = self._held + data, b""
        position, size = 0, len(data)
        if self._part is _Part.SIZE:
            position = self._skip_whole_chunks(data, payload)
            if self.done:
                return data[:position], True, data[position:]
        while position < size:
            if self._part is _Part.DATA:
                end = min(size, position + self._left)
                if payload is not None:
                    payload.append(data[position:end])
                self._left -= end - position
                position = end
                if self._left == 0:
                    self._part = _Part.DATA_END
                continue
            end = self._line_end(data, position)
            if end < 0:
                self._held = data[position:]
                return data[:position], False, b""
            self._take_line(data[position:end])
            position = end + 2
            if self.done:
                return data[:position], True, data[position:]
        return data, False, b""

    def _skip_whole_chunks(self, data: bytes, payload: list[bytes] | None) -> int:
        """Return where the first chunk begins that is not here whole, or the body's end. The quick way, in one loop."""
        position = 0
        while match := _SIZE_LINE.match(data, position, position + MAX_CHUNK_LINE_BYTES + 2):
            start = match.end()
            end = start + int(match[1], 16)
            if data[end : end + 2] != b"\r\n":
                break  # Not here yet, wrong, or trailers: for the careful way.
            if end == start:
                self.done = True
                return end + 2
            if payload is not None:
                payload.append(data[start:end])
            position = end + 2
        return position

    def _line_end(self, data: bytes, position: int) -> int:
        """Return where the line ends, -1 if it is incomplete. Raises when it cannot become a valid one."""
        limit = _LINE_BYTES_MAX[self._part]
        end = data.find(b"\r\n", position, position + limit + 2)
        if end < 0:
            if len(data) - position >= limit + 2:
                raise RemoteProtocolError("a chunk's line is longer than allowed or not where it has to be")
            bare = data.find(b"\n", position)
            if bare >= 0 or (limit == 0 and data[position : position + 1] != b"\r"):
                raise RemoteProtocolError("a chunk's line does not end in CR LF")
        return end

    def _take_line(self, line: bytes) -> None:
        """Judge one complete line and move on to the part after it."""
        if self._part is _Part.DATA_END:
            self._part = _Part.SIZE  # `_line_end` allowed no byte before the line end.
        elif self._part is _Part.SIZE:
            match = _SIZE_LINE.fullmatch(line + b"\r\n")
            if match is None:
                raise RemoteProtocolError("not a chunk size")
            self._left = int(match[1], 16)
            self._part = _Part.DATA if self._left else _Part.TRAILER
        elif line:
            match = _TRAILER_LINE.fullmatch(line)
            self._trailer_bytes += len(line) + 2
            if match is None or match[1].lower() in _NO_TRAILERS or self._trailer_bytes > MAX_TRAILER_BYTES:
                raise RemoteProtocolError("a trailer field that is invalid, not allowed or too long")
        else:
            self.done = True


def chunk(payload: bytes) -> bytes:
    """Frame one non-empty piece of a chunked body; the body ends with `LAST_CHUNK`. Raises: LocalProtocolError."""
    if not payload:
        raise LocalProtocolError("an empty chunk would end the body")
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK = b"0\r\n\r\n"
