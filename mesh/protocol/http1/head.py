"""Heads: the first lines of a request or response as values, and how each is written for the next hop.

What is sent on is written from what was parsed, never copied unread: the next hop cannot see another message than we judged.
Made by `mesh.protocol.http1.parsing`; nothing here checks syntax.
"""

from mesh.protocol.http1.body import BodyKind
from mesh.protocol.http1.layout import Layout

_NO_NAMES: frozenset[bytes] = frozenset()
_UPGRADE = frozenset({b"upgrade"})
_TE = frozenset({b"te"})
_SLASH = 0x2F


class _Special:
    """What few heads need when they are sent on."""

    __slots__ = ("dropped", "kept", "target")

    def __init__(self) -> None:
        self.dropped = _NO_NAMES  # fields that end here because another field says so
        self.kept = _NO_NAMES  # hop-by-hop fields whose meaning passes through
        self.target = b""  # in origin form, where the peer sent another


class RequestHead:
    """One request but for its body. Names of fields are asked for in lower case."""

    __slots__ = (
        "_layout",
        "_special",
        "_values",
        "body",
        "body_length",
        "controlled",
        "expect_continue",
        "host",
        "keep_alive",
        "method",
        "path",
        "request_id",
        "target",
        "traceparent",
        "upgrade",
        "version",
    )

    def __init__(
        self, method: bytes, target: bytes, path: bytes, host: bytes, layout: Layout, values: list[bytes]
    ) -> None:
        self.method = method
        self.target = target  # as it came: /path?query, http://host/path?query, host:port (CONNECT) or *
        self.path = path  # without scheme, host and query; the target itself for CONNECT and *
        self.host = host  # host[:port]; of an absolute target its authority, else the Host field, b"" where neither is
        self.version = 11  # or 10
        self.body = BodyKind.NONE
        self.body_length = 0
        self.keep_alive = True
        self.expect_continue = False
        self.upgrade: bytes | None = None  # the protocols asked for, as the peer wrote them
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        self.controlled: bool = layout.controlled  # it has x-envoy-*: what may steer a proxy
        self._layout = layout
        self._values = values
        self._special: _Special | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All fields in order, names as the peer spelled them."""
        return _fields(self._layout, self._values)

    def header(self, name_lower: bytes) -> bytes | None:
        """Return a field's value; repeated fields are joined by a comma."""
        return self._layout.value(name_lower, self._values)

    @property
    def origin_target(self) -> bytes:
        """The target in origin form, as it goes on."""
        return self.target if self._special is None else self._special.target or self.target

    @property
    def authority(self) -> bytes:
        """Another name of `host`."""
        return self.host

    @property
    def tracestate(self) -> bytes | None:
        """Vendors' part of the trace context."""
        return self.header(b"tracestate")

    @property
    def forwarded_for(self) -> bytes | None:
        """The x-forwarded-for list."""
        return self.header(b"x-forwarded-for")

    def forward(
        self,
        *,
        extra: bytes = b"",
        traceparent: bytes | None = None,
        remove: frozenset[bytes] = _NO_NAMES,
        upgrade: bool = False,
        target: bytes = b"",
    ) -> bytes:
        """Write the head for the next hop, in origin form and as HTTP/1.1.

        `extra` is complete lines, each with its CR LF. `remove` names fields to leave out (lower case; `x-envoy-*` for a
        prefix); use few different sets. `traceparent` takes the place of the peer's. `upgrade` asks the next hop for it too.
        `target`, if given, is asked for in the place of the peer's.
        """
        layout, values = self._layout, self._values
        if traceparent is not None:
            if layout.traceparent >= 0 and b"traceparent" not in remove:
                values = values.copy()
                values[layout.traceparent] = traceparent
            else:
                extra = b"traceparent: %b\r\n%b" % (traceparent, extra)
        special = self._special
        if special is None and not upgrade:
            plan = layout.plans.get(remove) or layout.plan(remove)
            return plan.request % (self.method, target or self.target, *plan.pick(values), extra)
        special = special or _Special()
        if layout.host < 0:
            # An HTTP/1.0 peer may leave it out; HTTP/1.1 may not. Source: RFC 9110 section 7.2.
            extra = b"host: %b\r\n%b" % (self.host, extra)
        if upgrade:
            extra += b"connection: upgrade\r\n"
        plan = layout.make_plan(remove | special.dropped, special.kept | _UPGRADE if upgrade else special.kept)
        return plan.request % (self.method, target or special.target or self.target, *plan.pick(values), extra)

    def special(self) -> "_Special":
        """For the parser: what to change when the head is sent on."""
        if self._special is None:
            self._special = _Special()
        return self._special

    def keep_trailers(self) -> None:
        """For the parser: the peer reads trailers, and so may the next hop's peer send them."""
        self.special().kept |= _TE
        for index in self._layout.positions[b"te"]:
            self._values[index] = b"trailers"

    def set_host(self, host: bytes) -> None:
        """For the parser: the target's authority wins over the Host field. Source: RFC 9112 section 3.2.2."""
        self.host = host
        if self._layout.host >= 0:
            self._values[self._layout.host] = host


class ResponseHead:
    """One response but for its body. Names of fields are asked for in lower case."""

    __slots__ = (
        "_layout",
        "_special",
        "_values",
        "body",
        "body_length",
        "keep_alive",
        "reason",
        "status",
        "upgrade",
        "version",
    )

    def __init__(self, status: int, reason: bytes, version: int, layout: Layout, values: list[bytes]) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.body = BodyKind.NONE
        self.body_length = 0
        self.keep_alive = True
        self.upgrade: bytes | None = None  # the protocol switched to, with status 101
        self._layout = layout
        self._values = values
        self._special: _Special | None = None

    @property
    def interim(self) -> bool:
        """Another head follows (100, 102, 103). 101 is final: the connection changes hands."""
        return self.status < 200 and self.status != 101

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All fields in order, names as the peer spelled them."""
        return _fields(self._layout, self._values)

    def header(self, name_lower: bytes) -> bytes | None:
        """Return a field's value; repeated fields are joined by a comma."""
        return self._layout.value(name_lower, self._values)

    def forward(
        self,
        *,
        extra: bytes = b"",
        connection_close: bool = False,
        remove: frozenset[bytes] = _NO_NAMES,
        decoded: bool = False,
    ) -> bytes:
        """Write the head for the next hop, as HTTP/1.1.

        `extra` and `remove` as for a request. `decoded`: the body goes on without its chunks (an HTTP/1.0 peer cannot
        read them), so that closing the connection has to end it.
        """
        if decoded:
            remove = remove | {b"transfer-encoding", b"trailer"}
        if connection_close:
            extra += b"connection: close\r\n"
        layout = self._layout
        special = self._special
        if special is None:
            plan = layout.plans.get(remove) or layout.plan(remove)
        else:
            if self.upgrade is not None:
                extra += b"connection: upgrade\r\n"
            plan = layout.make_plan(remove | special.dropped, special.kept)
        return plan.response % (self.status, self.reason, *plan.pick(self._values), extra)

    def special(self) -> _Special:
        """For the parser: what to change when the head is sent on."""
        if self._special is None:
            self._special = _Special()
        return self._special


def _fields(layout: Layout, values: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(layout.names, map(bytes.strip, values), strict=True))
