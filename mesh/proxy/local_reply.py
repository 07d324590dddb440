"""Answers that the proxy gives itself, with Envoy's status, body, flags and details.

Source: data recorded from Envoy 1.40 (status, body, response flag, response code details of each cause).
"""

import attrs

from mesh.model.errors import RemoteProtocolError
from mesh.model.traffic import ResponseFlag
from mesh.policy import grpc_status
from mesh.policy.failure import FailureKind
from mesh.protocol.http1 import REASONS, RequestHead, local_reply


@attrs.frozen(kw_only=True)
class LocalReply:
    """A whole answer: what the client gets, and what the access log says."""

    status: int
    body: bytes = b""
    flags: tuple[ResponseFlag, ...] = ()
    detail: str = ""
    headers: bytes = b""  # complete lines
    close: bool = False


# Kuma's answer where a route's backends are not there.
UNRESOLVED = LocalReply(status=500, detail="direct_response")
NO_ROUTE = LocalReply(status=404, flags=(ResponseFlag.NO_ROUTE,), detail="route_not_found")
NO_TUNNEL = attrs.evolve(NO_ROUTE, close=True)  # of a CONNECT
NO_PATH = LocalReply(status=404, detail="absolute_path_rejected")  # of an `OPTIONS *`
NO_HEALTHY_UPSTREAM = LocalReply(
    status=503, body=b"no healthy upstream", flags=(ResponseFlag.NO_HEALTHY_UPSTREAM,), detail="no_healthy_upstream"
)
ACCESS_DENIED = LocalReply(status=403, body=b"RBAC: access denied", detail="rbac_access_denied_matched_policy[none]")
REQUEST_TIMEOUT = LocalReply(
    status=504, body=b"upstream request timeout", flags=(ResponseFlag.UPSTREAM_TIMEOUT,), detail="response_timeout"
)
PER_TRY_TIMEOUT = LocalReply(
    status=504,
    body=b"upstream request timeout",
    flags=(ResponseFlag.UPSTREAM_TIMEOUT,),
    detail="upstream_per_try_timeout",
)
PER_TRY_IDLE_TIMEOUT = attrs.evolve(PER_TRY_TIMEOUT, detail="upstream_per_try_idle_timeout")
STREAM_IDLE_TIMEOUT = LocalReply(
    status=408,
    body=b"stream timeout",
    flags=(ResponseFlag.STREAM_IDLE_TIMEOUT,),
    detail="stream_idle_timeout",
    close=True,
)
# The request had come completely, so that the upstream owed the next byte.
UPSTREAM_IDLE_TIMEOUT = attrs.evolve(STREAM_IDLE_TIMEOUT, status=504, close=False)
STREAM_DURATION = LocalReply(status=504, body=b"downstream duration timeout", detail="max_duration_timeout")
HEADERS_TIMEOUT = LocalReply(status=408, body=b"request header timeout", detail="request_header_timeout", close=True)
OVERFLOW = LocalReply(
    status=503,
    body=b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
    flags=(ResponseFlag.UPSTREAM_OVERFLOW,),
    detail="upstream_reset_before_response_started{overflow}",
    headers=b"x-envoy-overloaded: true\r\n",
)

_BARE_REASONS = ("", "connection failure", *(kind.value for kind in FailureKind))


def upstream_failure(failure: FailureKind, *, retried: bool, reason: str = "") -> LocalReply:
    """The last try ended without a response; `reason`: what its connection broke with, for the log and not for clients."""
    if failure is FailureKind.PER_TRY_TIMEOUT:
        return PER_TRY_TIMEOUT
    if failure is FailureKind.PER_TRY_IDLE_TIMEOUT:
        return PER_TRY_IDLE_TIMEOUT
    if failure is FailureKind.OVERFLOW:
        return OVERFLOW
    lead = "retried and the latest reset reason: " if retried else "reset reason: "
    # Envoy's word for the failure says it all, or else what the transport said stands behind it.
    why = f"{failure.value}|{reason}" if reason not in _BARE_REASONS else failure.value
    return LocalReply(
        status=502 if failure is FailureKind.PROTOCOL_ERROR else 503,
        body=f"upstream connect error or disconnect/reset before headers. {lead}{failure.value}".encode(),
        flags=(failure.flag,),
        detail=f"upstream_reset_before_response_started{{{why.replace(' ', '_')}}}",
    )


def redirected(status: int, location: bytes) -> LocalReply:
    """Send the client elsewhere."""
    return LocalReply(status=status, detail="direct_response", headers=b"location: %b\r\n" % location)


# Of ours and of llhttp the messages, of Envoy the details (source/common/http/http1/codec_impl.cc); the rest is `codec_error`.
_DETAIL_BY_MESSAGE = {
    "both content-length and transfer-encoding": "content_length_and_chunked_not_allowed",
    "invalid request: Transfer-Encoding can't be present with Content-Length": "content_length_and_chunked_not_allowed",
    "invalid request: Content-Length can't be present with Transfer-Encoding": "content_length_and_chunked_not_allowed",
    "a connection field that names an end-to-end field": "connection_header_rejected",
    "invalid request target": "invalid_url",
    "a fragment in the request target": "invalid_url",
    "transfer-encoding is not chunked": "invalid_transfer_encoding",
    "transfer-encoding with HTTP/1.0": "transfer_encoding_not_allowed",
}


def bad_request(error: RemoteProtocolError) -> LocalReply:
    """The client broke the protocol: answer and close."""
    message = str(error)
    if message == "no host field":
        return LocalReply(status=400, detail="missing_host_header", close=True)
    detail = _DETAIL_BY_MESSAGE.get(message, "codec_error")
    if error.status == 431:
        detail = "too_many_headers" if "fields" in message else "headers_too_large"
    return LocalReply(
        status=error.status,
        body=REASONS[error.status],
        flags=(ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR,),
        detail=f"http1.{detail}",
        close=True,
    )


def encode_local_reply(
    reply: LocalReply,
    head: RequestHead | None,
    *,
    close: bool,
    lines: bytes = b"",
    removes: frozenset[bytes] = frozenset(),
) -> tuple[bytes, int]:
    """Write the reply as HTTP/1.1 bytes, and say how many of them are body.

    A HEAD request gets no body, and a gRPC request gets trailers only, in the place of headers. `head` None: what was
    asked could not be read. `lines` and `removes`: what the route adds to and takes from responses, local ones too.
    Source: Envoy `Utility::prepareLocalReply`, `DownstreamFilterManager::sendLocalReplyViaFilterChain`.
    """
    if head is None:
        return local_reply(reply.status, reply.body, extra=reply.headers, keep_alive=not close), len(reply.body)
    if grpc_status.is_grpc(head.header(b"content-type")):
        extra = reply.headers + lines + _grpc_lines(reply)
        return local_reply(200, extra=extra, keep_alive=not close, method=head.method), 0
    typed = b"content-type" in removes or b"content-type:" in reply.headers
    data = local_reply(
        reply.status,
        reply.body,
        extra=reply.headers + lines,
        keep_alive=not close,
        method=head.method,
        content_type=b"" if typed else b"text/plain",
    )
    return data, 0 if head.method == b"HEAD" else len(reply.body)


def _grpc_lines(reply: LocalReply) -> bytes:
    lines = b"content-type: application/grpc\r\ngrpc-status: %d\r\n" % grpc_status.from_http(reply.status)
    if reply.body:
        lines += b"grpc-message: %b\r\n" % _percent_encoded(reply.body)
    return lines


def _percent_encoded(message: bytes) -> bytes:
    """Source: gRPC over HTTP2, Status-Message: printable ASCII but for the percent sign stays."""
    return b"".join(bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in message)
