"""Retries: conditions, counts, flags, back-off, bodies, host selection, hedging."""

from mesh.policy.back_off import RateLimitedBackOff, ResetHeader, ResetHeaderFormat
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.host_selection import HostSelection
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, endpoint, outbound, pair, plain, route, service, single
from tests.envoy.script import Answer, Door, Stage, Together, Upstream, get, pieces, post, request, talk, times

SICK = Answer(status=503, body=b"sick")
FINE = Answer(body=b"fine")
BREAKS = Answer(ends=Stage.REQUEST)
SLOW = Answer(wait_s=3.0)
STATS = (
    "c.upstream_rq_retry",
    "c.upstream_rq_retry_limit_exceeded",
    "c.upstream_rq_retry_success",
    "c.upstream_rq_retry_overflow",
)
BACK_OFF = (0.0, 0.4)  # 25 ms and 50 ms at most, and a busy machine


def on(*conditions: RetryOn, retries: int = 2, **other: object) -> RetryPolicy:
    """Return a policy that retries on these conditions."""
    return RetryPolicy(retries_max=retries, conditions=conditions, **other)  # type: ignore[arg-type]


def grpc(status: int) -> Answer:
    """Return a gRPC response without messages."""
    return Answer(headers=(("content-type", "application/grpc"), ("grpc-status", str(status))), body=b"")


FIVE_XX = on(RetryOn.SERVER_ERROR)
GRPC_REQUEST = "content-type: application/grpc"

RECORDED = (
    single("retry_5xx_always_503", SICK, retry=FIVE_XX, gaps=(BACK_OFF, BACK_OFF), stats=STATS),
    single("retry_5xx_third_ok", SICK, SICK, FINE, retry=FIVE_XX, stats=STATS),
    single("retry_post_body", SICK, retry=FIVE_XX, steps=(post(b"x" * 1000),), stats=STATS),
    single("retry_reset", BREAKS, retry=FIVE_XX, stats=STATS),
    single("noretry_reset", BREAKS, stats=STATS),
    single("retry_5xx_on_404", Answer(status=404, body=b"nf"), retry=FIVE_XX, stats=STATS),
    single("retry_gateway_error_on_500", Answer(status=500), retry=on(RetryOn.GATEWAY_ERROR), stats=STATS),
    single(
        "retry_status_codes_409",
        Answer(status=409, body=b"409"),
        retry=on(RetryOn.RETRIABLE_STATUS_CODES, status_codes=(409,)),
        stats=STATS,
    ),
    single(
        "per_try_timeout",
        SLOW,
        retry=on(RetryOn.SERVER_ERROR, per_try_timeout_s=0.1),
        gaps=((0.1, 0.5), (0.1, 0.5)),
        takes=((0.3, 1.2),),
        stats=STATS,
    ),
    single(
        "per_try_timeout_in_total",
        SLOW,
        retry=on(RetryOn.SERVER_ERROR, retries=5, per_try_timeout_s=0.2),
        timeouts=Timeouts(request_s=0.3),
        takes=((0.28, 0.6),),
        stats=STATS,
    ),
    single(
        "timeout_with_retry_no_per_try",
        SLOW,
        retry=FIVE_XX,
        timeouts=Timeouts(request_s=0.2),
        takes=((0.19, 0.5),),
        stats=STATS,
    ),
    single(
        "retry_backoff_base_100ms",
        Answer(status=503, body=b""),
        retry=on(RetryOn.SERVER_ERROR, retries=4, backoff_base_s=0.1, backoff_s_max=0.3),
        gaps=((0.0, 0.4), (0.0, 0.5), (0.0, 0.6), (0.0, 0.6)),
        stats=STATS,
    ),
    Case(
        name="retry_overflow_max_retries_1",
        parts=plain(
            retry=on(RetryOn.SERVER_ERROR, retries=1, backoff_base_s=1.0, backoff_s_max=1.0, budget=None),
            circuit_breaking=CircuitBreakingLimits(retries_max=1),
        ),
        upstreams=(Upstream(name="u0", answers=(Answer(status=503, wait_s=0.1),)),),
        steps=(Together(talks=(get(),) * 6),),
        ordered=False,
        stats=("c.upstream_rq_retry_overflow", "c.upstream_rq_retry"),
    ),
    Case(
        name="retry_budget_20pct_min2_of_20_concurrent",
        parts=plain(
            retry=on(
                RetryOn.SERVER_ERROR,
                retries=1,
                backoff_base_s=1.0,
                backoff_s_max=1.0,
                budget=RetryBudget(percent=20.0, concurrency_min=2),
            )
        ),
        # Slow enough that all twenty are in flight when the first answer comes, and far enough apart to be counted.
        upstreams=(Upstream(name="u0", answers=(Answer(status=503, wait_s=0.4),)),),
        steps=(Together(talks=(get(),) * 20),),
        ordered=False,
        shares={"u0": (22, 25)},
    ),
    pair(
        "retry_previous_hosts",
        [SICK],
        [FINE],
        retry=on(RetryOn.SERVER_ERROR, retries=1, host_selection=HostSelection(omit_previous_hosts=True, picks_max=5)),
        steps=times(10, get()),
        ordered=False,
        shares={"first": (5, 10), "second": (10, 10)},
    ),
)

MORE = (
    single("retry_reset_condition", BREAKS, FINE, retry=on(RetryOn.RESET), stats=STATS),
    single("retry_reset_does_not_cover_503", SICK, retry=on(RetryOn.RESET), stats=STATS),
    single("retry_reset_by_rst", Answer(ends=Stage.REQUEST, resets=True), FINE, retry=FIVE_XX, stats=STATS),
    single("retry_4xx_on_409", Answer(status=409), FINE, retry=on(RetryOn.RETRIABLE_4XX), stats=STATS),
    single("retry_4xx_on_429", Answer(status=429), FINE, retry=on(RetryOn.RETRIABLE_4XX), stats=STATS),
    single("retry_connect_failure_does_not_cover_reset", BREAKS, FINE, retry=on(RetryOn.CONNECT_FAILURE), stats=STATS),
    single("retry_gateway_error_on_502", Answer(status=502), FINE, retry=on(RetryOn.GATEWAY_ERROR), stats=STATS),
    single(
        "retry_ratelimited_response_is_not_retried_by_5xx",
        Answer(status=503, headers=(("x-envoy-ratelimited", "true"),)),
        FINE,
        retry=FIVE_XX,
        stats=STATS,
    ),
    single(
        "retry_envoy_ratelimited",
        Answer(status=429, headers=(("x-envoy-ratelimited", "true"),)),
        FINE,
        retry=on(RetryOn.ENVOY_RATELIMITED),
        stats=STATS,
    ),
    single(
        "retry_overloaded_response_of_another_proxy",
        Answer(status=503, headers=(("x-envoy-overloaded", "true"),)),
        FINE,
        retry=FIVE_XX,
        stats=STATS,
    ),
    single(
        "retry_retriable_header",
        Answer(headers=(("x-again", "yes"),)),
        FINE,
        retry=on(RetryOn.RETRIABLE_HEADERS, response_headers=(HeaderMatch(name="x-again", value="yes"),)),
        stats=STATS,
    ),
    single(
        "retry_retriable_header_absent_one",
        FINE,
        retry=on(
            RetryOn.RETRIABLE_HEADERS,
            response_headers=(HeaderMatch(name="x-done", kind=ValueMatchKind.ABSENT),),
        ),
        stats=STATS,
    ),
    single(
        "retry_request_header_gate_open",
        SICK,
        FINE,
        retry=on(RetryOn.SERVER_ERROR, request_headers=(HeaderMatch(name="x-may", value="1"),)),
        steps=(get("/", "x-may: 1"),),
        stats=STATS,
    ),
    single(
        "retry_request_header_gate_shut",
        SICK,
        FINE,
        retry=on(RetryOn.SERVER_ERROR, request_headers=(HeaderMatch(name="x-may", value="1"),)),
        steps=(get("/", "x-may: 2"),),
        stats=STATS,
    ),
    single(
        "retry_methods_gate_shut",
        SICK,
        FINE,
        retry=on(RetryOn.SERVER_ERROR, methods=("GET", "HEAD")),
        steps=(post(),),
        stats=STATS,
    ),
    single("retry_204_is_no_failure", Answer(status=204, body=b""), retry=FIVE_XX, stats=STATS),
    single("retry_head_request", SICK, FINE, retry=FIVE_XX, steps=(talk(request("HEAD")),), stats=STATS),
    single(
        "retry_truncated_body_is_too_late",
        Answer(body=b"0123456789", ends=Stage.HALF),
        FINE,
        retry=FIVE_XX,
        stats=STATS,
    ),
    single("retry_after_garbage", Answer(raw=b"NOT HTTP AT ALL\r\n\r\n"), FINE, retry=FIVE_XX, stats=STATS),
    single(
        "retry_streamed_body_of_two_pieces",
        SICK,
        FINE,
        retry=FIVE_XX,
        steps=(
            talk(
                pieces(
                    b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 8\r\n\r\nbody",
                    (0.1, b"more"),
                    method="POST",
                )
            ),
        ),
        stats=STATS,
    ),
    single(
        "retry_early_503_to_a_streamed_post",
        Answer(status=503, early=True, body=b"no"),
        FINE,
        retry=FIVE_XX,
        steps=(
            talk(
                pieces(
                    b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 8\r\n\r\nbody",
                    (0.3, b"more"),
                    method="POST",
                )
            ),
        ),
        stats=STATS,
    ),
    single(
        "retry_chunked_request",
        SICK,
        FINE,
        retry=FIVE_XX,
        steps=(
            talk(
                pieces(
                    b"POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
                    (0.05, b"0\r\n\r\n"),
                    method="POST",
                )
            ),
        ),
        stats=STATS,
    ),
    *(
        single(
            f"retry_grpc_{condition.value}",
            grpc(status),
            grpc(0),
            retry=on(condition),
            steps=(post(b"frame", GRPC_REQUEST),),
            stats=STATS,
        )
        for condition, status in (
            (RetryOn.CANCELLED, 1),
            (RetryOn.DEADLINE_EXCEEDED, 4),
            (RetryOn.INTERNAL, 13),
            (RetryOn.RESOURCE_EXHAUSTED, 8),
            (RetryOn.UNAVAILABLE, 14),
        )
    ),
    single(
        "retry_grpc_other_status",
        grpc(5),
        retry=on(RetryOn.UNAVAILABLE, RetryOn.INTERNAL),
        steps=(post(b"frame", GRPC_REQUEST),),
        stats=STATS,
    ),
    single(
        "retry_after_header_in_seconds",
        Answer(status=503, headers=(("retry-after", "1"),)),
        FINE,
        retry=on(
            RetryOn.SERVER_ERROR,
            rate_limited_back_off=RateLimitedBackOff(
                reset_headers=(ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS),)
            ),
        ),
        gaps=((1.0, 2.0),),
        stats=STATS,
    ),
    single(
        "retry_after_header_above_the_longest",
        Answer(status=503, headers=(("retry-after", "10"),)),
        FINE,
        retry=on(
            RetryOn.SERVER_ERROR,
            rate_limited_back_off=RateLimitedBackOff(
                reset_headers=(ResetHeader(name="retry-after", format=ResetHeaderFormat.SECONDS),), interval_s_max=2.0
            ),
        ),
        gaps=(BACK_OFF,),
        stats=STATS,
    ),
    single(
        "retry_per_try_idle_timeout",
        Answer(body=b"0123456789", wait_s=0.6),
        FINE,
        retry=on(RetryOn.SERVER_ERROR, per_try_idle_timeout_s=0.2),
        gaps=((0.2, 0.6),),
        stats=STATS,
    ),
    single(
        "retry_second_try_is_told_what_is_left",
        SLOW,
        FINE,
        retry=on(RetryOn.SERVER_ERROR, per_try_timeout_s=1.2),
        timeouts=Timeouts(request_s=2.0),
        stats=STATS,
    ),
    single(
        "retry_per_try_timeout_above_the_timeout",
        SLOW,
        retry=on(RetryOn.SERVER_ERROR, per_try_timeout_s=1.0),
        timeouts=Timeouts(request_s=0.3),
        takes=((0.28, 0.6),),
        stats=STATS,
    ),
    pair(
        "retry_other_host_in_turns",
        [BREAKS],
        [FINE],
        retry=on(RetryOn.RESET, retries=1),
        steps=times(4, get()),
        stats=STATS,
    ),
    Case(
        name="retry_omit_tagged_hosts",
        parts=(
            *service(endpoints=(endpoint("canary", tags=(("version", "2"),)), endpoint("u0"))),
            outbound(
                route(
                    retry=on(
                        RetryOn.SERVER_ERROR,
                        retries=3,
                        host_selection=HostSelection(omitted_tags=((("version", "2"),),), picks_max=5),
                    )
                )
            ),
        ),
        upstreams=tuple(Upstream(name=name, answers=(SICK,)) for name in ("canary", "u0")),
        steps=times(4, get()),
        ordered=False,
        shares={"canary": (0, 4), "u0": (12, 16)},  # in turns it would be eight and eight
    ),
    single(
        "hedge_on_per_try_timeout_second_wins",
        Answer(wait_s=1.5, body=b"late"),
        FINE,
        retry=on(RetryOn.SERVER_ERROR, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        gaps=((0.2, 0.6),),
        takes=((0.2, 0.8),),
        stats=STATS,
    ),
    single(
        "hedge_on_per_try_timeout_first_wins",
        Answer(wait_s=0.5, body=b"first"),
        Answer(wait_s=2.0, body=b"second"),
        retry=on(RetryOn.SERVER_ERROR, retries=1, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        gaps=((0.2, 0.6),),
        takes=((0.45, 0.9),),
        stats=STATS,
    ),
    single(
        "hedge_second_fails_first_wins",
        Answer(wait_s=0.6, body=b"first"),
        SICK,
        retry=on(RetryOn.SERVER_ERROR, retries=1, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        takes=((0.5, 1.0),),
        stats=STATS,
    ),
    single(
        "hedge_all_too_slow",
        SLOW,
        retry=on(RetryOn.SERVER_ERROR, retries=2, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        timeouts=Timeouts(request_s=1.0),
        takes=((0.5, 1.3),),
        stats=STATS,
    ),
    Case(
        name="connect_refused_retry",
        parts=plain("dead", "u0", retry=on(RetryOn.CONNECT_FAILURE, retries=1)),
        upstreams=(Upstream(name="dead", door=Door.SHUT), Upstream(name="u0")),
        steps=times(6, get()),
        ordered=False,
        compares_replies=False,  # where the balancer begins says how many of them begin with the dead one
        shares={"u0": (6, 6)},
    ),
)
# The client beside the proxy is believed: headers of its own say how its request is to be retried.
BY_HEADERS = (
    single(
        "header_retry_on",
        SICK,
        SICK,
        FINE,
        steps=(get("/", "x-envoy-retry-on: 5xx", "x-envoy-max-retries: 2"),),
        stats=STATS,
    ),
    single("header_retry_on_default_once", SICK, steps=(get("/", "x-envoy-retry-on: gateway-error"),), stats=STATS),
    single("header_max_retries_alone", SICK, retry=FIVE_XX, steps=(get("/", "x-envoy-max-retries: 1"),), stats=STATS),
    single("header_max_retries_0", SICK, retry=FIVE_XX, steps=(get("/", "x-envoy-max-retries: 0"),), stats=STATS),
    single(
        "header_retry_on_joins_the_policy",
        Answer(status=409),
        FINE,
        retry=on(RetryOn.RESET),
        steps=(get("/", "x-envoy-retry-on: retriable-4xx"),),
        stats=STATS,
    ),
    single(
        "header_retriable_status_codes",
        Answer(status=418),
        FINE,
        steps=(get("/", "x-envoy-retry-on: retriable-status-codes", "x-envoy-retriable-status-codes: 418,500"),),
        stats=STATS,
    ),
    single(
        "header_retriable_header_names",
        Answer(headers=(("x-again", "1"),)),
        FINE,
        steps=(get("/", "x-envoy-retry-on: retriable-headers", "x-envoy-retriable-header-names: x-again"),),
        stats=STATS,
    ),
    single(
        "header_retry_grpc_on",
        grpc(14),
        grpc(0),
        steps=(post(b"frame", GRPC_REQUEST, "x-envoy-retry-grpc-on: unavailable"),),
        stats=STATS,
    ),
    single(
        "header_per_try_timeout",
        SLOW,
        FINE,
        retry=FIVE_XX,
        steps=(get("/", "x-envoy-upstream-rq-per-try-timeout-ms: 200"),),
        gaps=((0.2, 0.6),),
        stats=STATS,
    ),
    single(
        "header_hedge_on_per_try_timeout",
        Answer(wait_s=1.5, body=b"late"),
        FINE,
        retry=on(RetryOn.SERVER_ERROR, per_try_timeout_s=0.2),
        steps=(get("/", "x-envoy-hedge-on-per-try-timeout: true"),),
        takes=((0.2, 0.8),),
        stats=STATS,
    ),
    single("header_timeout_garbage", Answer(wait_s=0.2), steps=(get("/", "x-envoy-upstream-rq-timeout-ms: soon"),)),
    single(
        "header_retry_on_of_a_stranger",
        SICK,
        FINE,
        steps=(get("/", "x-forwarded-for: 9.9.9.9", "x-envoy-retry-on: 5xx"),),
        stats=STATS,
    ),
    single(
        "header_grpc_timeout",
        SLOW,
        steps=(post(b"frame", GRPC_REQUEST, "grpc-timeout: 200m"),),
        timeouts=Timeouts(request_s=0.6),
    ),
)
CASES = RECORDED + MORE + BY_HEADERS
