"""Timeouts: spans in seconds, 0 for none, and the instants at which they run out. Pure; the proxy arms its timer from them.

Source: Envoy FAQ "How do I configure timeouts", `RouteAction.timeout` and fields named in the comments.
"""

import enum
import math

import attrs

from mesh.policy.authorization import PeerMatch

_NEVER = math.inf


@attrs.frozen(kw_only=True)
class Timeouts:
    """The spans that bound one request and its connections. Defaults are Envoy's."""

    connect_s: float = 5.0  # Cluster.connect_timeout: TCP and TLS together
    request_s: float = 15.0  # RouteAction.timeout: from the complete request to the complete response, all tries
    idle_s: float = 3600.0  # HttpProtocolOptions.idle_timeout: a connection without requests
    stream_idle_s: float = 300.0  # HttpConnectionManager.stream_idle_timeout: a request without bytes either way
    request_headers_s: float = 0.0  # HttpConnectionManager.request_headers_timeout
    stream_s_max: float = 0.0  # max_stream_duration
    connection_s_max: float = 0.0  # max_connection_duration


@attrs.frozen(kw_only=True)
class CallerTimeouts:
    """The spans that bound the requests of those callers that match; of a connection's own spans these are ignored."""

    match: PeerMatch
    timeouts: Timeouts


class Expiry(enum.Enum):
    """Which span of a request ran out, and what follows."""

    REQUEST = "request"  # 504, flag UT, never retried
    STREAM_MAX = "stream-max"  # 504 or reset
    PER_TRY = "per-try"  # as if the upstream had reset the try: retried as the policy says, else 504, flag UT
    PER_TRY_IDLE = "per-try-idle"  # the same, but it goes on in the response: then it ends that; flag UT
    STREAM_IDLE = "stream-idle"  # 408 before response headers, else reset; flag SI


def deadline_after(now: float, span_s: float) -> float:
    """Return the instant at which a span that starts now runs out; 0 is no span: infinity."""
    return now + span_s if span_s > 0.0 else _NEVER


def effective_per_try_s(per_try_timeout_s: float, request_s: float) -> float:
    """Return the per-try span that counts, 0 for none: one that is not below the request's timeout is ignored.

    Source: Envoy source/common/router/router.cc FilterUtility::finalTimeout.
    """
    return 0.0 if 0.0 < request_s <= per_try_timeout_s else per_try_timeout_s


def expected_timeout_ms(per_try_s: float, request_s: float, *, elapsed_s: float = 0.0, hedges: bool = False) -> int:
    """Return how long an upstream may take for a try, for x-envoy-expected-rq-timeout-ms; 0: there is no limit, no header.

    `per_try_s`: see `effective_per_try_s`; `elapsed_s`: since the request came completely. Once the time is over it is
    1 ms, since 0 would mean for ever. Source: Envoy FilterUtility::setTimeoutHeaders.
    """
    request_ms = round(request_s * 1000.0)
    # A hedged try is not ended by its span: it may use all the time there is.
    expected_ms = request_ms if hedges or per_try_s <= 0.0 else round(per_try_s * 1000.0)
    if request_ms > 0 and expected_ms > 0:
        left_ms = request_ms - int(elapsed_s * 1000.0)
        return min(expected_ms, left_ms) if left_ms > 0 else 1
    return expected_ms


@attrs.define(eq=False)
class Deadlines:
    """The instants at which the spans of one request run out; inf: never. One object per connection, begun anew per request."""

    request: float = _NEVER
    stream: float = _NEVER
    per_try: float = _NEVER
    per_try_idle: float = _NEVER
    idle: float = _NEVER
    _per_try_idle_s: float = attrs.field(default=0.0, init=False)  # means something only while per_try_idle is not inf

    def begin(self, timeouts: Timeouts, now: float) -> None:
        """A request's headers have come: its longest duration and its idle span start, nothing else yet."""
        self.request = self.per_try = self.per_try_idle = _NEVER
        self.stream = now + timeouts.stream_s_max if timeouts.stream_s_max > 0.0 else _NEVER
        self.idle = now + timeouts.stream_idle_s if timeouts.stream_idle_s > 0.0 else _NEVER

    def begin_complete(self, timeouts: Timeouts, per_try_s: float, now: float, per_try_idle_s: float = 0.0) -> float:
        """A whole request has come and its first try begins: all its spans start at once. Return the earliest instant.

        The same as `begin`, `begin_response_wait`, `begin_try` and `earliest`, for the request path.
        """
        earliest = _NEVER
        self.request = self.per_try = self.per_try_idle = self.stream = self.idle = earliest
        if timeouts.request_s > 0.0:
            self.request = earliest = now + timeouts.request_s
        if per_try_s > 0.0:
            self.per_try = when = now + per_try_s
            if when < earliest:
                earliest = when
        if per_try_idle_s > 0.0:
            self._per_try_idle_s = per_try_idle_s
            self.per_try_idle = when = now + per_try_idle_s
            if when < earliest:
                earliest = when
        if timeouts.stream_s_max > 0.0:
            self.stream = when = now + timeouts.stream_s_max
            if when < earliest:
                earliest = when
        if timeouts.stream_idle_s > 0.0:
            self.idle = when = now + timeouts.stream_idle_s
            if when < earliest:
                earliest = when
        return earliest

    def begin_response_wait(self, timeouts: Timeouts, now: float) -> None:
        """The request has come completely: its timeout over all tries and back-offs starts."""
        self.request = now + timeouts.request_s if timeouts.request_s > 0.0 else _NEVER

    def begin_try(self, per_try_s: float, now: float, per_try_idle_s: float = 0.0) -> None:
        """A try has its connection and the complete request. `per_try_s`: see `effective_per_try_s`."""
        self.per_try = now + per_try_s if per_try_s > 0.0 else _NEVER
        self.per_try_idle = now + per_try_idle_s if per_try_idle_s > 0.0 else _NEVER
        self._per_try_idle_s = per_try_idle_s

    def begin_response(self) -> None:
        """The try's response goes to the client: its span bounds nothing any more, its idle span goes on."""
        self.per_try = _NEVER

    def end_try(self) -> None:
        """The try is over: from now on its spans bound nothing."""
        self.per_try = self.per_try_idle = _NEVER

    def touch(self, timeouts: Timeouts, now: float) -> None:
        """Bytes went through, in either direction."""
        self.idle = now + timeouts.stream_idle_s if timeouts.stream_idle_s > 0.0 else _NEVER
        if self.per_try_idle < _NEVER:
            self.per_try_idle = now + self._per_try_idle_s

    def earliest(self) -> float:
        """Return the instant to arm the timer for; inf: none."""
        # Comparisons, not min(): half the cost, and this runs for each request.
        when = self.request
        if self.per_try < when:
            when = self.per_try
        if self.per_try_idle < when:
            when = self.per_try_idle
        if self.stream < when:
            when = self.stream
        return self.idle if self.idle < when else when

    def expired(self) -> Expiry:
        """Return which span runs out first. At the same instant what ends the request beats what ends a try."""
        when = self.earliest()
        if self.request == when:
            return Expiry.REQUEST
        if self.stream == when:
            return Expiry.STREAM_MAX
        if self.per_try == when:
            return Expiry.PER_TRY
        return Expiry.PER_TRY_IDLE if self.per_try_idle == when else Expiry.STREAM_IDLE
