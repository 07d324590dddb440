"""What single fields and targets of a head mean: framing, connection options, the forms of a target.

Called by the parsers for what a head really has. Raises: RemoteProtocolError everywhere.
"""

import re

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1.body import BodyKind
from mesh.protocol.http1.head import RequestHead, ResponseHead
from mesh.protocol.http1.layout import HOP_BY_HOP

_LENGTH_DIGITS_MAX = 18
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Without a comma, though RFC 3986 allows one: elsewhere it would join two hosts.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~%!$&'()*+;=]*)(?::[0-9]{0,5})?")
_CONNECT_TARGET = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~%]+):[0-9]{1,5}")
_ABSOLUTE = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?)://([^/?]+)(/[^?]*)?(?:\?.*)?")
# Leaving out one of these would change the message's framing, its route, or what the next hop learns about the caller.
# Source: Envoy `Utility::sanitizeConnectionHeader` refuses the x-forwarded ones.
_NOT_NOMINATED = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-client-cert",
        b"x-request-id",
        b"traceparent",
    }
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def host(value: bytes) -> bytes:
    """Return a valid host[:port]."""
    value = value.strip()
    if len(value) > 261 or _HOST.fullmatch(value) is None:
        raise RemoteProtocolError("invalid host")
    return value


def content_length(value: bytes, *, status: int = 400) -> int:
    """Return the number of body bytes."""
    if not value.isdigit():
        value = value.strip()
    if not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
        raise RemoteProtocolError("invalid content-length", status=status)
    return int(value)


def chunked(value: bytes, version: int, *, status: int = 501) -> bytes:
    """Return `chunked` in the spelling that every next hop knows; other codings are not undone here, HTTP/1.0 has none.

    Source: RFC 9112 section 6.1.
    """
    if value == b"chunked" and version == 11:
        return value
    if version == 10:
        raise RemoteProtocolError("transfer-encoding with HTTP/1.0", status=status if status == 502 else 400)
    codings = [coding.strip().lower() for coding in value.split(b",")]
    if codings != [b"chunked"]:
        # Where chunked does not come last, or comes twice, the end of the body cannot be found.
        unclear = codings.count(b"chunked") != 1 or codings[-1] != b"chunked"
        raise RemoteProtocolError(
            "transfer-encoding is not chunked", status=400 if unclear and status != 502 else status
        )
    return b"chunked"


def read_connection(head: RequestHead | ResponseHead) -> None:
    """Read whether the connection lives on, and which fields end at this hop. Source: RFC 9110 section 7.6.1."""
    value = head.header(b"connection") or b""
    lower = value.lower()
    if lower == b"keep-alive":
        return
    status = 400 if isinstance(head, RequestHead) else 502
    options = [option for option in (part.strip() for part in lower.split(b",")) if option]
    if not all(map(_TOKEN.fullmatch, options)):
        raise RemoteProtocolError("invalid connection field", status=status)
    if not _NOT_NOMINATED.isdisjoint(options):
        raise RemoteProtocolError("a connection field that names an end-to-end field", status=status)
    head.keep_alive = b"close" not in options and (head.version == 11 or b"keep-alive" in options)
    nominated = frozenset(options) - HOP_BY_HOP - {b"close"}
    if nominated:
        head.special().dropped |= nominated
    if b"upgrade" in options and head.version == 11:
        if isinstance(head, RequestHead):
            head.upgrade = head.header(b"upgrade")
        elif head.status == 101:
            head.upgrade = head.header(b"upgrade")
            head.special().kept |= {b"upgrade"}


def read_rare(request: RequestHead) -> None:
    """Read what few requests have: Expect, TE, repeated fields."""
    if (request.header(b"expect") or b"").lower() == b"100-continue" and request.version == 11:
        request.expect_continue = True
    accepted = (request.header(b"te") or b"").lower()
    if b"trailers" in [part.strip() for part in accepted.split(b",")]:
        # Trailers pass through, other codings do not.
        request.keep_trailers()
    if b"," in (request.header(b"traceparent") or b""):
        request.traceparent = None  # Repeated, so void. Source: W3C Trace Context section 3.2.


def read_bodiless(response: ResponseHead, method: bytes) -> None:
    """Take back the body where the status or the request's method rules one out. Source: RFC 9112 section 6.3."""
    status = response.status
    tunnel = method == b"CONNECT" and 200 <= status < 300
    if method == b"CONNECT" and not tunnel and status >= 200 and status not in (204, 304):
        return
    response.body = BodyKind.NONE
    response.body_length = 0
    if status < 200 or status == 204 or tunnel:
        # Forbidden there; the next hop might believe them.
        response.special().dropped |= _FRAMING


def read_other_target(request: RequestHead) -> None:
    """Read a target that does not begin with a slash. Source: RFC 9112 section 3.2."""
    target = request.target
    if request.method == b"CONNECT":
        if _CONNECT_TARGET.fullmatch(target) is None:
            raise RemoteProtocolError("CONNECT wants host:port")
        if request.header(b"transfer-encoding") or (request.header(b"content-length") or b"0").strip(b"0"):
            raise RemoteProtocolError("CONNECT with a body")
        request.path = target
        request.set_host(target)
    elif target == b"*":
        if request.method != b"OPTIONS":
            raise RemoteProtocolError("only OPTIONS asks for *")
    else:
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise RemoteProtocolError("invalid request target")
        request.set_host(host(match[1]))
        _, mark, query = target.partition(b"?")
        request.path = match[2] or (b"*" if request.method == b"OPTIONS" and not mark else b"/")
        request.special().target = request.path + mark + query
