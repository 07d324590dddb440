"""Parsers: the bytes of one connection to heads. llhttp reads the fields; what it lets through wrongly is refused here.

Rules of this file: a head is taken whole or not at all, so that any split of the bytes gives the same result; each refusal
is a RemoteProtocolError, after which the parser is not used again; framing that two readers could see differently is refused.
llhttp (httptools 0.9) accepts: two Host fields or none, `GET  /`, HTTP/2.0, HTTP/0.9, `gzip, chunked`, a fragment, empty
lines in front, a reason with control characters. What a single field means stands in `mesh.protocol.http1.meaning`.
Heads that a peer repeats but for their values are read by a pattern, without llhttp: see `mesh.protocol.http1.pattern`.
Source: RFC 9112.
"""

import functools
import re
from typing import NoReturn

import httptools

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1 import meaning
from mesh.protocol.http1.body import BodyKind
from mesh.protocol.http1.head import RequestHead, ResponseHead
from mesh.protocol.http1.layout import EMPTY, layout_of

MAX_HEAD_BYTES = 61440

_NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE = BodyKind.NONE, BodyKind.LENGTH, BodyKind.CHUNKED, BodyKind.UNTIL_CLOSE
# Integers: `b"#" in target` costs five times as much in CPython 3.11.
_SLASH, _HASH, _CR = 0x2F, 0x23, 0x0D
_KEEP_ALIVE = frozenset({b"keep-alive", b"Keep-Alive"})  # HTTP/1.1's default, spelled out
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE"})
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = re.compile(_TOKEN + rb"{1,32}")
_REQUEST_BEGIN = re.compile(rb"(?:\r?\Z|(?:\r\n)?" + _TOKEN + rb"{0,32}(?: |\Z))")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t \x21-\x7e\x80-\xff]*))?")


class _Fields:
    """What llhttp reports of one head."""

    __slots__ = ("names", "on_header", "values")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.values: list[bytes] = []
        add_name, add_value = self.names.append, self.values.append

        # Measured against one list of pairs, a dict and regular expressions: the cheapest way out of llhttp.
        def on_header(name: bytes, value: bytes) -> None:
            add_name(name)
            add_value(value)

        self.on_header = on_header


class RequestParser:
    """Reads the requests of one connection."""

    __slots__ = ("_fields", "_host", "_layout", "_llhttp")

    def __init__(self) -> None:
        self._fields = _Fields()
        self._llhttp = httptools.HttpRequestParser(self._fields)
        self._layout = EMPTY  # of the last head: peers repeat it
        self._host = b""  # the last one found valid

    def parse(self, buffer: bytes) -> tuple[RequestHead, int] | None:
        """Return the head that `buffer` begins with and its size in bytes, None while it is incomplete.

        Raises: RemoteProtocolError, with the status to answer (400, 414, 431, 501, 505). One empty line in front is skipped.
        """
        # One long function on purpose: each call costs a twentieth of the whole, and every request passes here.
        match = self._layout.request_match
        found = None if match is None else match(buffer)
        if found is not None and (end := found.end()) <= MAX_HEAD_BYTES:
            layout, rest = self._layout, b""
            method, target, *values = found.groups()
        else:
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4 or end > MAX_HEAD_BYTES:
                _check_unfinished_request(buffer)
                return None
            fields = self._fields
            head = buffer if end == len(buffer) else buffer[:end]
            try:
                self._llhttp.feed_data(head)
            except httptools.HttpParserUpgrade:
                pass  # CONNECT or Upgrade: the connection may change hands after this head.
            except httptools.HttpParserError as error:
                _refuse_request(head, error)
            try:
                method, target, rest = head.split(b" ", 2)
            except ValueError as error:
                raise RemoteProtocolError("invalid request line") from error

            layout, names = self._layout, fields.names
            if names == layout.names:
                layout.meet_again()
            else:
                layout = self._layout = layout_of(names, head_bytes=end)
            names.clear()
            values = fields.values.copy()
            fields.values.clear()

        host = values[layout.host] if layout.host >= 0 else b""
        if host != self._host:
            host = self._host = meaning.host(host)
        query = target.find(b"?")
        request = RequestHead(method, target, target if query < 0 else target[:query], host, layout, values)
        if found is None:
            if not rest.startswith(b"HTTP/1.1\r\n") or method not in _METHODS or _HASH in target or _CR in target:
                _read_unusual_line(request, rest)
                method = request.method
            if layout.host < 0:
                if request.version == 11:
                    raise RemoteProtocolError("no host field")
                request.special()
            if target[0] != _SLASH or method == b"CONNECT":
                meaning.read_other_target(request)
        if layout.request_id >= 0:
            request.request_id = values[layout.request_id].strip()
        if layout.traceparent >= 0:
            request.traceparent = values[layout.traceparent].strip()
        if layout.content_length >= 0:
            request.body_length = meaning.content_length(values[layout.content_length])
            if request.body_length:
                request.body = _LENGTH
        elif layout.transfer_encoding >= 0:
            values[layout.transfer_encoding] = meaning.chunked(values[layout.transfer_encoding], request.version)
            request.body = _CHUNKED
        if request.version == 10 or (layout.connection >= 0 and values[layout.connection] not in _KEEP_ALIVE):
            meaning.read_connection(request)
        if layout.rare:
            meaning.read_rare(request)
        if found is None and (
            request.body is not _NONE
            or not request.keep_alive
            or layout.rare
            or request.version == 10
            or method == b"CONNECT"
        ):
            # llhttp now waits for a body or for the end; another one is cheaper than feeding it the body.
            self._llhttp = httptools.HttpRequestParser(self._fields)
        return request, end


class ResponseParser:
    """Reads the responses of one connection."""

    __slots__ = ("_fields", "_layout", "_llhttp")

    def __init__(self) -> None:
        self._fields = _Fields()
        self._llhttp = httptools.HttpResponseParser(self._fields)
        self._layout = EMPTY  # of the last head: peers repeat it

    def parse(self, buffer: bytes, method: bytes = b"GET") -> tuple[ResponseHead, int] | None:
        """Return the head that `buffer` begins with and its size in bytes, None while it is incomplete.

        `method` is the request's: it decides whether a body follows. Raises: RemoteProtocolError, with status 502.
        """
        match = self._layout.response_match
        found = None if match is None else match(buffer)
        if found is not None and (end := found.end()) <= MAX_HEAD_BYTES:
            layout = self._layout
            line, *values = found.groups()
            status, reason, version = _remembered_status_line(line)
        else:
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4 or end > MAX_HEAD_BYTES:
                _check_unfinished_response(buffer)
                return None
            fields = self._fields
            head = buffer if end == len(buffer) else buffer[:end]
            line = head[: head.find(b"\r\n")]
            status, reason, version = _remembered_status_line(line) if len(line) <= 64 else _read_status_line(line)
            try:
                self._llhttp.feed_data(head)
            except httptools.HttpParserUpgrade:
                pass  # Status 101: the connection changes hands after this head.
            except httptools.HttpParserError as error:
                raise RemoteProtocolError(f"invalid response: {error}", status=502) from error
            # llhttp now waits for a body that the caller will read; it cannot be told that there is none.
            self._llhttp = httptools.HttpResponseParser(fields)

            layout, names = self._layout, fields.names
            if names == layout.names:
                layout.meet_again()
            else:
                layout = self._layout = layout_of(names, head_bytes=end, status=502)
            names.clear()
            values = fields.values.copy()
            fields.values.clear()

        response = ResponseHead(status, reason, version, layout, values)
        if layout.content_length >= 0:
            length = meaning.content_length(values[layout.content_length], status=502)
            if length:
                response.body = _LENGTH
                response.body_length = length
        elif layout.transfer_encoding >= 0:
            values[layout.transfer_encoding] = meaning.chunked(values[layout.transfer_encoding], version, status=502)
            response.body = _CHUNKED
        else:
            response.body = _UNTIL_CLOSE
        if version == 10 or (layout.connection >= 0 and values[layout.connection] not in _KEEP_ALIVE):
            meaning.read_connection(response)
        if method == b"HEAD" or status < 200 or status == 204 or status == 304 or method == b"CONNECT":
            meaning.read_bodiless(response, method)
        if response.body is _UNTIL_CLOSE:
            response.keep_alive = False
        return response, end


def _check_unfinished_request(buffer: bytes) -> None:
    """Refuse early what no further byte can make a request. Raises: RemoteProtocolError."""
    if _REQUEST_BEGIN.match(buffer) is None:
        raise RemoteProtocolError("not an HTTP/1.1 request")
    if len(buffer) >= MAX_HEAD_BYTES:
        if buffer.find(b"\r\n", 2, MAX_HEAD_BYTES) < 0:
            raise RemoteProtocolError("the request target is too long", status=414)
        raise RemoteProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", status=431)
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise RemoteProtocolError("a line that does not end in CR LF")


def _check_unfinished_response(buffer: bytes) -> None:
    if not (buffer.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(buffer)):
        raise RemoteProtocolError("not an HTTP/1.1 response", status=502)
    if len(buffer) >= MAX_HEAD_BYTES:
        raise RemoteProtocolError(f"the head is longer than {MAX_HEAD_BYTES} bytes", status=502)
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise RemoteProtocolError("a line that does not end in CR LF", status=502)


def _refuse_request(head: bytes, error: httptools.HttpParserError) -> NoReturn:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        method = head.lstrip(b"\r\n").partition(b" ")[0]
        if _METHOD.fullmatch(method):
            raise RemoteProtocolError(f"unknown method {method.decode()}", status=501) from error
    raise RemoteProtocolError(f"invalid request: {error}") from error


def _read_unusual_line(request: RequestHead, rest: bytes) -> None:
    """Judge a request line that is not `METHOD target HTTP/1.1` with a common method. `rest` begins with the version."""
    version, _, _ = rest.partition(b"\r\n")
    if request.method.startswith(b"\r\n"):
        request.method = request.method[2:]  # One empty line in front. Source: RFC 9112 section 2.2.
    if not _METHOD.fullmatch(request.method) or b"\r" in request.target or not request.target:
        raise RemoteProtocolError("invalid request line")
    if b"#" in request.target:
        raise RemoteProtocolError("a fragment in the request target")
    if version == b"HTTP/1.0":
        request.version = 10
    elif version != b"HTTP/1.1":
        known = re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version)
        raise RemoteProtocolError("not a version that is spoken here", status=505 if known else 400)


def _read_status_line(line: bytes) -> tuple[int, bytes, int]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("invalid status line", status=502)
    return int(match[2]), match[3] or b"", 11 if match[1] == b"1" else 10


_remembered_status_line = functools.lru_cache(maxsize=256)(_read_status_line)
