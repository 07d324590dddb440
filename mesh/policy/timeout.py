"""Timeouts: spans in seconds, 0 for none, and the instants at which they run out. Pure; the proxy arms its timer from them.

Source: Envoy FAQ "How do I configure timeouts", `RouteAction.timeout` and fields named in the comments.
"""

import enum
import math

import attrs

from mesh.policy.authorization import PeerMatch


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
    STREAM_IDLE = "stream-idle"  # 408 before response headers, else reset; flag SI


def deadline_after(now: float, span_s: float) -> float:
    """Return the instant at which a span that starts now runs out; 0 is no span: infinity."""
    return now + span_s if span_s > 0.0 else math.inf


def effective_per_try_s(per_try_timeout_s: float, request_s: float) -> float:
    """Return the per-try span that counts, 0 for none: one that is not below the request's timeout is ignored.

    Source: Envoy source/common/router/router.cc FilterUtility::finalTimeout.
    """
    return 0.0 if 0.0 < request_s <= per_try_timeout_s else per_try_timeout_s


@attrs.define(eq=False)
class Deadlines:
    """The instants at which the spans of one request run out; inf: never. One object per connection, begun anew per request."""

    request: float = math.inf
    stream: float = math.inf
    per_try: float = math.inf
    idle: float = math.inf

    def begin(self, timeouts: Timeouts, now: float) -> None:
        """A request's headers have come: its longest duration and its idle span start, nothing else yet."""
        self.request = self.per_try = math.inf
        self.stream = now + timeouts.stream_s_max if timeouts.stream_s_max > 0.0 else math.inf
        self.idle = now + timeouts.stream_idle_s if timeouts.stream_idle_s > 0.0 else math.inf

    def begin_complete(self, timeouts: Timeouts, per_try_s: float, now: float) -> float:
        """A whole request has come and its first try begins: all its spans start at once. Return the earliest instant.

        The same as `begin`, `begin_response_wait`, `begin_try` and `earliest`, for the request path.
        """
        earliest = math.inf
        self.request = self.per_try = self.stream = self.idle = earliest
        if timeouts.request_s > 0.0:
            self.request = earliest = now + timeouts.request_s
        if per_try_s > 0.0:
            self.per_try = when = now + per_try_s
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
        self.request = now + timeouts.request_s if timeouts.request_s > 0.0 else math.inf

    def begin_try(self, per_try_s: float, now: float) -> None:
        """A try has its connection and the complete request. `per_try_s`: see `effective_per_try_s`."""
        self.per_try = now + per_try_s if per_try_s > 0.0 else math.inf

    def end_try(self) -> None:
        """The try is over, or its response headers have come: from now on its span bounds nothing."""
        self.per_try = math.inf

    def touch(self, timeouts: Timeouts, now: float) -> None:
        """Bytes went through, in either direction."""
        self.idle = now + timeouts.stream_idle_s if timeouts.stream_idle_s > 0.0 else math.inf

    def earliest(self) -> float:
        """Return the instant to arm the timer for; inf: none."""
        # Comparisons, not min(): half the cost, and this runs for each request.
        when = self.request
        if self.per_try < when:
            when = self.per_try
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
        return Expiry.PER_TRY if self.per_try == when else Expiry.STREAM_IDLE
