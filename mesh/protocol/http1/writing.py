"""Writing messages that begin here: requests and responses of endpoints, and the replies a proxy gives itself."""

from collections.abc import Iterable

from mesh.model.errors import LocalProtocolError

Headers = Iterable[tuple[bytes, bytes]]

# Source: RFC 9110 section 15, RFC 6585 (428, 429, 431, 511); the words are those that Envoy sends.
REASONS: dict[int, bytes] = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    203: b"Non-Authoritative Information",
    204: b"No Content",
    205: b"Reset Content",
    206: b"Partial Content",
    207: b"Multi-Status",
    208: b"Already Reported",
    226: b"IM Used",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    305: b"Use Proxy",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Payload Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Entity",
    423: b"Locked",
    424: b"Failed Dependency",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    506: b"Variant Also Negotiates",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
    510: b"Not Extended",
    511: b"Network Authentication Required",
}
_BODILESS_METHODS = frozenset({b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE"})


def encode_lines(headers: Headers) -> bytes:
    """Return fields as complete lines, the form that `extra` has elsewhere. Raises: LocalProtocolError."""
    return _head(b"", 0, headers, b"")


def encode_request(
    method: bytes,
    target: bytes,
    host: bytes,
    headers: Headers = (),
    body: bytes | None = b"",
) -> bytes:
    """Return a whole request. `body=None`: `headers` frame a body that the caller sends. Raises: LocalProtocolError."""
    if method.find(b" ") >= 0 or target.find(b" ") >= 0 or not (method and target):
        raise LocalProtocolError("a space in the request line")
    end = b"\r\n"
    if body or (body is not None and method not in _BODILESS_METHODS):
        end = b"content-length: %d\r\n\r\n" % len(body)
    first = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, host)
    return _head(first, 2, headers, end) + (body or b"")


def encode_response(
    status: int,
    headers: Headers = (),
    body: bytes | None = b"",
    *,
    keep_alive: bool = True,
    method: bytes = b"GET",
) -> bytes:
    """Return a whole response to a request of `method` (HEAD gets no body bytes).

    `body=None`: `headers` frame a body that the caller sends. Raises: LocalProtocolError.
    """
    bodiless = status < 200 or status in (204, 304)
    if bodiless and body:
        raise LocalProtocolError(f"status {status} has no body")
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    if body is not None and not bodiless:
        end = b"content-length: %d\r\n%b" % (len(body), end)
    first = b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))
    return _head(first, 1, headers, end) + (b"" if method == b"HEAD" else body or b"")


def local_reply(
    status: int,
    body: bytes = b"",
    *,
    extra: bytes = b"",
    date: bytes = b"",
    keep_alive: bool = True,
    method: bytes = b"GET",
    content_type: bytes = b"text/plain",
) -> bytes:
    """Return a proxy's own answer in Envoy's form: length, type if there is a text, then `extra` (complete lines).

    Without `server`, and with `date` (an HTTP date) only if it is given. Source: Envoy `Utility::sendLocalReply`.
    """
    parts = [b"HTTP/1.1 %d %b\r\ncontent-length: %d\r\n" % (status, REASONS.get(status, b"Unknown"), len(body))]
    if body and content_type:
        parts.append(b"content-type: %b\r\n" % content_type)
    parts.append(extra)
    if date:
        parts.append(b"date: %b\r\n" % date)
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", b"" if method == b"HEAD" else body)
    return b"".join(parts)


def _head(first: bytes, first_lines: int, headers: Headers, end: bytes) -> bytes:
    """Join the lines of a head. Raises: LocalProtocolError when a target, name or value would begin a line of its own."""
    parts = [first]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(end)
    head = b"".join(parts)
    lines = first_lines + len(parts) // 4 + end.count(b"\n")  # Each field is four parts; `end` is our own.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or 0 in head:
        raise LocalProtocolError("a line break or NUL within a head")
    return head
