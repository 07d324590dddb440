"""Inbounds: rate limits, faults, permissions, and what they do over two hops."""

import attrs

from mesh.model.traffic import Protocol
from mesh.policy.authorization import Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import HeaderChanges
from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, inbound, outbound, route, service
from tests.envoy.script import (
    Answer,
    Opaque,
    Pause,
    Piece,
    Step,
    Stream,
    Together,
    Upstream,
    get,
    post,
    request,
    talk,
    times,
)

FINE = Answer()
GRPC = "content-type: application/grpc"


def _in(name: str, *steps: Step, answer: Answer = FINE, policy: dict[str, object], **other: object) -> Case:
    """An inbound with a policy, asked directly."""
    return Case(
        name=name,
        parts=(inbound(**policy),),  # type: ignore[arg-type]
        upstreams=(Upstream(name="u0", answers=(answer,)),),
        steps=steps,
        **other,  # type: ignore[arg-type]
    )


def _limit(count: int, interval_s: float, **other: object) -> dict[str, object]:
    limit = RateLimit(rate=Rate(count=count, interval_s=interval_s), **other)  # type: ignore[arg-type]
    return {"rate_limits": (CallerRateLimit(limit=limit),)}


def _fault(**parts: object) -> dict[str, object]:
    return {"faults": (Fault(**parts),)}  # type: ignore[arg-type]


def _two_hops(name: str, *steps: Step, answer: Answer = FINE, policy: dict[str, object], **other: object) -> Case:
    """An outbound with retries on all 5xx and 429, through an inbound with a policy."""
    retry = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), status_codes=(429,))
    timeouts = other.pop("timeouts", Timeouts())
    return Case(
        name=name,
        parts=(*service("in"), outbound(route(retry=retry, timeouts=timeouts)), inbound(**policy)),  # type: ignore[arg-type]
        upstreams=(Upstream(name="u0", answers=(answer,)),),
        steps=steps,
        **other,  # type: ignore[arg-type]
    )


def ask(*headers: str) -> Step:
    return get("/", *headers, listener="in")


def call(*headers: str) -> Step:
    return post(b"frame", GRPC, *headers, listener="in")


RATE_LIMITS = (
    _in("local_ratelimit", ask(), policy=_limit(10, 1.0)),
    _in("local_ratelimit_2_per_10_s", *times(4, ask()), call(), policy=_limit(2, 10.0)),
    _in("local_ratelimit_refills", *times(3, ask()), Pause(seconds=0.8), *times(3, ask()), policy=_limit(2, 1.2)),
    _in(
        "local_ratelimit_status_and_headers",
        *times(2, ask()),
        policy=_limit(1, 60.0, status=503, headers=HeaderChanges(set=(("x-limit", "one"),), add=(("x-more", "m"),))),
    ),
    _in("local_ratelimit_grpc", call(), call(), policy=_limit(1, 60.0)),
    _in(
        "local_ratelimit_keeps_the_connection",
        talk(request(), request(), request(), listener="in"),
        policy=_limit(1, 60.0),
    ),
    _in(
        "local_ratelimit_of_a_post_with_a_body",
        ask(),
        talk(request("POST", "/", body=b"body"), request(), listener="in"),
        policy=_limit(1, 60.0),
    ),
    _in(
        "connection_rate_http",
        *times(3, ask()),
        policy={"connection_rate": Rate(count=2, interval_s=60.0)},
    ),
    Case(
        name="connection_rate_tcp",
        parts=(inbound(protocol=Protocol.TCP, connection_rate=Rate(count=1, interval_s=60.0)),),
        upstreams=(Upstream(name="u0", opaque=Opaque()),),
        steps=(
            Stream(listener="in", pieces=(Piece(data=b"one"),)),
            Stream(listener="in", ends=False),
        ),
    ),
    _in("local_ratelimit_of_head", ask(), talk(request("HEAD"), listener="in"), policy=_limit(1, 60.0)),
)

FAULTS = (
    _in("fault_abort_503", ask(), call(), policy=_fault(abort=Abort(status=503, percent=100.0))),
    _in("fault_abort_418", ask(), call(), policy=_fault(abort=Abort(status=418, percent=100.0))),
    _in("fault_abort_0_percent", ask(), policy=_fault(abort=Abort(status=503, percent=0.0))),
    _in(
        "fault_abort_half",
        *times(100, ask()),
        policy=_fault(abort=Abort(status=503, percent=50.0)),
        compares_replies=False,
        ordered=False,
        shares={"u0": (30, 70)},
    ),
    _in(
        "fault_abort_of_head",
        talk(request("HEAD"), listener="in"),
        policy=_fault(abort=Abort(status=503, percent=100.0)),
    ),
    _in("fault_delay_200ms", ask(), policy=_fault(delay=Delay(delay_s=0.2, percent=100.0)), takes=((0.19, 0.6),)),
    _in(
        "fault_delay_and_abort",
        ask(),
        policy=_fault(delay=Delay(delay_s=0.2, percent=100.0), abort=Abort(status=500, percent=100.0)),
        takes=((0.19, 0.6),),
    ),
    _in(
        "fault_delay_is_outside_the_timeout",
        ask(),
        answer=Answer(wait_s=0.2),
        policy={**_fault(delay=Delay(delay_s=0.4, percent=100.0)), "timeouts": Timeouts(request_s=0.4)},
        takes=((0.55, 1.2),),
    ),
    _in(
        "fault_delay_client_goes_away",
        attrs.evolve(ask(), leaves_after_s=0.15),
        Pause(seconds=0.6),
        policy=_fault(delay=Delay(delay_s=0.4, percent=100.0)),
    ),
    _in(
        "fault_bandwidth",
        ask(),
        answer=Answer(body=b"x" * 20_480),
        policy=_fault(response_bandwidth=ResponseBandwidth(bytes_per_s=40_960.0, percent=100.0)),
        takes=((0.3, 0.9),),
    ),
)

PERMISSIONS = (
    _in("rbac_deny", ask(), call(), talk(request("HEAD"), listener="in"), policy={"permissions": Permissions()}),
)

TWO_HOPS = (
    _two_hops("two_hops_plain", get(), policy={}),
    _two_hops("two_hops_rate_limit_is_retried_as_429", get(), get(), policy=_limit(1, 60.0)),
    _two_hops("two_hops_abort_is_retried", get(), policy=_fault(abort=Abort(status=503, percent=100.0))),
    _two_hops(
        "two_hops_fault_delay_beyond_the_timeout",
        get(),
        policy=_fault(delay=Delay(delay_s=1.0, percent=100.0)),
        timeouts=Timeouts(request_s=0.3),
        takes=((0.28, 0.7),),
    ),
    _two_hops(
        "two_hops_overflow_of_the_inbound_is_retried",
        get(),
        policy={"circuit_breaking": CircuitBreakingLimits(pending_requests_max=0)},
    ),
    _two_hops("two_hops_denied_is_not_retried", get(), policy={"permissions": Permissions()}),
    _two_hops("two_hops_application_sick", get(), answer=Answer(status=503), policy={}),
    _two_hops(
        "two_hops_grpc_abort",
        post(b"frame", GRPC),
        policy=_fault(abort=Abort(status=503, percent=100.0)),
    ),
    _in(
        "inbound_five_at_once",
        Together(talks=(get(listener="in"),) * 5, stagger_s=0.02),
        answer=Answer(wait_s=0.3),
        policy={"circuit_breaking": CircuitBreakingLimits(connections_max=1, pending_requests_max=1)},
        ordered=False,
    ),
)
CASES = RATE_LIMITS + FAULTS + PERMISSIONS + TWO_HOPS
