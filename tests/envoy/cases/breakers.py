"""Circuit breakers and outlier detection: who is refused, who is ejected, for how long."""

from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryOn, RetryPolicy
from tests.envoy.case import Case, pair, plain, single
from tests.envoy.script import Answer, Door, Pause, Stage, Together, Upstream, get, post, times

BAD = Answer(status=500, body=b"bad")
SICK = Answer(status=503, body=b"sick")
NO_PANIC = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=0.0)
EJECTIONS = ("c.outlier_detection.ejections_active", "c.outlier_detection.ejections_enforced_total")
APART_S = 0.05  # An ejection takes a moment to reach Envoy's worker thread.
OVERFLOWS = ("c.upstream_rq_pending_overflow", "c.upstream_rq_active_overflow", "c.upstream_rq_retry_overflow")


def _five_at_once(name: str, limits: CircuitBreakingLimits, *answers: Answer, at_once: int = 5) -> Case:
    """Five requests at once against an upstream that takes its time."""
    return single(
        name,
        *(answers or (Answer(wait_s=0.3),)),
        cluster={"circuit_breaking": limits},
        steps=(Together(talks=(get(),) * at_once, stagger_s=0.02),),
        ordered=False,
        stats=OVERFLOWS,
    )


def _detection(**other: object) -> OutlierDetection:
    defaults: dict[str, object] = {"interval_s": 0.5, "base_ejection_s": 300.0, "ejection_percent_max": 100}
    return OutlierDetection(**(defaults | other))  # type: ignore[arg-type]


BREAKERS = (
    _five_at_once("cb_max_requests_1_http1", CircuitBreakingLimits(requests_max=1)),
    _five_at_once("cb_max_pending_1_max_conn_1", CircuitBreakingLimits(connections_max=1, pending_requests_max=1)),
    _five_at_once("cb_max_connections_1_only", CircuitBreakingLimits(connections_max=1), Answer(wait_s=0.1)),
    _five_at_once("cb_max_pending_0", CircuitBreakingLimits(pending_requests_max=0)),
    single(
        "cb_overflow_reply",
        cluster={"circuit_breaking": CircuitBreakingLimits(pending_requests_max=0)},
        stats=OVERFLOWS,
    ),
    single(
        "cb_overflow_reply_to_grpc",
        cluster={"circuit_breaking": CircuitBreakingLimits(pending_requests_max=0)},
        steps=(post(b"frame", "content-type: application/grpc"),),
        stats=OVERFLOWS,
    ),
    single(
        "cb_overflow_is_not_retried",
        retry=RetryPolicy(retries_max=3, conditions=(RetryOn.SERVER_ERROR,)),
        cluster={"circuit_breaking": CircuitBreakingLimits(pending_requests_max=0)},
        stats=OVERFLOWS,
    ),
    _five_at_once("cb_max_requests_3", CircuitBreakingLimits(requests_max=3)),
    single(
        "cb_retries_0",
        SICK,
        retry=RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,), budget=None),
        cluster={"circuit_breaking": CircuitBreakingLimits(retries_max=0)},
        stats=OVERFLOWS,
    ),
    single(
        "upstream_connection_reuse",
        steps=times(5, get()),
    ),
)

OUTLIERS = (
    pair(
        "outlier_consecutive_5xx_3",
        [BAD],
        steps=times(14, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=3, ejection_percent_max=50)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_a_success_between_resets_the_count",
        [BAD, BAD, Answer(), BAD, BAD, Answer()],
        steps=times(14, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=3)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_all_bad_panic_default_50",
        [BAD],
        [Answer(status=500, body=b"bad2")],
        steps=times(12, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=3)},
        stats=EJECTIONS,
        ordered=False,
        shares={"first": (4, 8), "second": (4, 8)},
    ),
    pair(
        "outlier_all_bad_panic_0",
        [BAD],
        [Answer(status=500, body=b"bad2")],
        steps=times(12, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=3), "load_balancing": NO_PANIC},
        stats=EJECTIONS,
    ),
    Case(
        name="outlier_max_ejection_percent_default_10_of_3_hosts",
        parts=plain("u0", "u1", "u2", outlier_detection=_detection(consecutive_5xx=3, ejection_percent_max=10)),
        upstreams=(
            Upstream(name="u0", answers=(BAD,)),
            Upstream(name="u1", answers=(BAD,)),
            Upstream(name="u2"),
        ),
        steps=times(18, get(), APART_S),
        first_asked_first=True,
        stats=("c.outlier_detection.ejections_active", "c.outlier_detection.ejections_overflow"),
    ),
    Case(
        name="outlier_always_eject_one",
        parts=plain(
            "u0",
            "u1",
            "u2",
            outlier_detection=_detection(consecutive_5xx=3, ejection_percent_max=10, always_eject_one=True),
        ),
        upstreams=(Upstream(name="u0", answers=(BAD,)), Upstream(name="u1"), Upstream(name="u2")),
        steps=times(18, get(), APART_S),
        first_asked_first=True,
        ordered=False,
        shares={"u0": (3, 3), "u1": (7, 8), "u2": (7, 8)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_connection_reset_counts_as_5xx",
        [Answer(ends=Stage.REQUEST)],
        steps=times(14, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=3)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_timeout_counts_as_gateway_failure",
        [Answer(wait_s=2.0)],
        retry=RetryPolicy(retries_max=1, conditions=(RetryOn.SERVER_ERROR,), per_try_timeout_s=0.15),
        steps=times(6, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_gateway_failures=2)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_500_is_no_gateway_failure",
        [BAD],
        steps=times(8, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_gateway_failures=2)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_gateway_failure",
        [SICK],
        steps=times(8, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_gateway_failures=2)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_split_errors_reset_is_no_5xx",
        [Answer(ends=Stage.REQUEST)],
        steps=times(10, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_5xx=2, split_local_origin_errors=True)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_split_errors_local_origin",
        [Answer(ends=Stage.REQUEST)],
        steps=times(10, get(), APART_S),
        cluster={"outlier_detection": _detection(consecutive_local_origin_failures=2, split_local_origin_errors=True)},
        stats=EJECTIONS,
    ),
    Case(
        name="outlier_refused_connections",
        parts=plain("dead", "u0", outlier_detection=_detection(consecutive_5xx=2)),
        upstreams=(Upstream(name="dead", door=Door.SHUT), Upstream(name="u0")),
        steps=times(10, get(), APART_S),
        ordered=False,
        shares={"u0": (8, 8)},
        stats=EJECTIONS,
    ),
    pair(
        "outlier_returns_on_a_tick",
        [BAD, BAD, Answer(body=b"well")],
        steps=(*times(4, get(), APART_S), *times(3, get(), APART_S), Pause(seconds=3.2), *times(4, get(), APART_S)),
        cluster={"outlier_detection": _detection(consecutive_5xx=2, base_ejection_s=1.0, ejection_percent_max=50)},
        ordered=False,
        shares={"first": (4, 4), "second": (7, 7)},
        stats=("c.outlier_detection.ejections_enforced_total",),
    ),
    Case(
        name="outlier_failure_percentage",
        parts=plain(
            "u0",
            "u1",
            "u2",
            outlier_detection=_detection(
                failure_percentage_minimum_hosts=3,
                failure_percentage_request_volume=4,
                failure_percentage_threshold=60,
            ),
        ),
        upstreams=(Upstream(name="u0", answers=(BAD,)), Upstream(name="u1"), Upstream(name="u2")),
        steps=(*times(45, get()), Pause(seconds=2.3), *times(12, get(), APART_S)),
        first_asked_first=True,
        ordered=False,
        compares_replies=False,
        shares={"u0": (4, 16), "u1": (20, 27), "u2": (20, 27)},  # nineteen each without ejection
        stats=("c.outlier_detection.ejections_active",),
    ),
    Case(
        name="outlier_success_rate",
        parts=plain(
            *(f"u{number}" for number in range(5)),
            outlier_detection=_detection(success_rate_minimum_hosts=5, success_rate_request_volume=5),
        ),
        upstreams=(Upstream(name="u0", answers=(BAD,)), *(Upstream(name=f"u{number}") for number in range(1, 5))),
        steps=(*times(100, get()), Pause(seconds=2.3), *times(20, get(), APART_S)),
        first_asked_first=True,
        ordered=False,
        compares_replies=False,
        shares={"u0": (5, 21), **{f"u{number}": (24.0, 30.0) for number in range(1, 5)}},
        stats=("c.outlier_detection.ejections_active",),
    ),
)
CASES = BREAKERS + OUTLIERS
