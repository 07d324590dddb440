"""Fault injection: errors, delays and slow answers that an inbound makes up, to see what its callers do. Pure.

Source: Envoy `extensions.filters.http.fault.v3.HTTPFault`, source/extensions/filters/http/fault; Kuma MeshFaultInjection.
"""

import attrs

from mesh.policy.authorization import PeerMatch


@attrs.frozen(kw_only=True)
class Abort:
    """Answer with this status instead of asking the application."""

    status: int
    percent: float


@attrs.frozen(kw_only=True)
class Delay:
    """Wait before the request goes on."""

    delay_s: float
    percent: float


@attrs.frozen(kw_only=True)
class ResponseBandwidth:
    """Let the response's body through at this rate."""

    bytes_per_s: float
    percent: float


@attrs.frozen(kw_only=True)
class Fault:
    """One entry of a policy: each part acts with its own chance, for callers that match."""

    match: PeerMatch = PeerMatch()
    abort: Abort | None = None
    delay: Delay | None = None
    response_bandwidth: ResponseBandwidth | None = None
