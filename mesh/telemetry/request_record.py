"""What is known about one request that a proxy handled: filled along its way, the source of access log, metrics and checks.

One small object a request, no text made before somebody wants it. TCP connections leave a record too (method b"").
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from mesh.model.traffic import ResponseFlag


class FailedTry(NamedTuple):
    """A try that was followed by another one. Times are seconds of the reactor's clock."""

    upstream: str
    ended_at: float
    outcome: str  # a status, or what went wrong in the words of FailureKind
    pause_s: float  # before the next try


class RequestRecord:
    """One request through one proxy. Times are seconds of the reactor's clock; bytes count bodies as framed on the wire.

    `traceparent` is what went upstream: its span is this request at this proxy; `parent` is the one that came with the request.
    """

    __slots__ = (
        "authority",
        "bytes_received",
        "bytes_sent",
        "cluster",
        "detail",
        "ended_at",
        "failed_tries",
        "flags",
        "inbound",
        "method",
        "parent",
        "path",
        "peer",
        "request_id",
        "route",
        "shadow_denied",
        "started_at",
        "status",
        "traceparent",
        "tries",
        "upstream",
    )

    def __init__(
        self,
        *,
        inbound: bool,
        started_at: float,
        peer: str = "",
        method: bytes = b"",
        path: bytes = b"",
        authority: bytes = b"",
    ) -> None:
        self.inbound = inbound
        self.started_at = started_at
        self.ended_at = started_at
        self.peer = peer
        self.method = method
        self.path = path
        self.authority = authority
        self.status = 0
        self.flags: tuple[ResponseFlag, ...] = ()
        self.detail = ""
        self.route = ""
        self.shadow_denied = ""  # the detail of the denial that a shadow rule would have been
        self.cluster = ""
        self.upstream = ""
        self.request_id = b""
        self.traceparent = b""
        self.parent = b""
        self.tries = 0
        self.failed_tries: tuple[FailedTry, ...] = ()
        self.bytes_received = 0
        self.bytes_sent = 0


Recorder = Callable[[RequestRecord], None]


class RecordSink(Protocol):
    """Takes completed requests; called on the request path, so it only keeps them."""

    def append(self, record: RequestRecord, /) -> None: ...
