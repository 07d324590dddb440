"""Answers that the proxy gives itself, with Envoy's status, body, flags and details.

Source: data recorded from Envoy 1.40 (status, body, response flag, response code details of each cause).
"""

import attrs

from mesh.model.errors import RemoteProtocolError
from mesh.model.traffic import ResponseFlag
from mesh.policy.failure import FailureKind
from mesh.protocol.http1 import local_reply


@attrs.frozen(kw_only=True)
class LocalReply:
    """A whole answer: what the client gets, and what the access log says."""

    status: int
    body: bytes = b""
    flags: tuple[ResponseFlag, ...] = ()
    detail: str = ""
    headers: bytes = b""  # complete lines
    close: bool = False


NO_ROUTE = LocalReply(status=404, flags=(ResponseFlag.NO_ROUTE,), detail="route_not_found")
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
STREAM_IDLE_TIMEOUT = LocalReply(
    status=408,
    body=b"stream timeout",
    flags=(ResponseFlag.STREAM_IDLE_TIMEOUT,),
    detail="stream_idle_timeout",
    close=True,
)
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


def bad_request(error: RemoteProtocolError) -> LocalReply:
    """The client broke the protocol: answer and close."""
    return LocalReply(
        status=error.status,
        body=b"Request Header Fields Too Large" if error.status == 431 else b"",
        flags=(ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR,),
        detail=f"http1.{error}".replace(" ", "_"),
        close=True,
    )


def encode_local_reply(reply: LocalReply, *, method: bytes, close: bool) -> bytes:
    """Write the reply as HTTP/1.1 bytes; a HEAD request gets no body."""
    return local_reply(reply.status, reply.body, extra=reply.headers, keep_alive=not close, method=method)
