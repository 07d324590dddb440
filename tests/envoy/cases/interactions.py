"""Interactions: two or more policies at once, where each alone would be simple."""

import attrs

from mesh.config.snapshot import Backend, Mirror
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.host_selection import HostSelection
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import HeaderChanges, PathMatch, PathRewrite, Rewrite, RouteMatch
from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, endpoint, outbound, pair, plain, route, service, single
from tests.envoy.script import Answer, Door, Pause, Stage, Together, Upstream, get, post, times

SICK = Answer(status=503, body=b"sick")
BREAKS = Answer(ends=Stage.REQUEST)
SLOW = Answer(wait_s=3.0)
NO_PANIC = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=0.0)
EJECTS = OutlierDetection(interval_s=0.5, base_ejection_s=300.0, ejection_percent_max=100, consecutive_5xx=2)
FIVE_XX = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,))
STATS = (
    "c.upstream_rq_retry",
    "c.upstream_rq_retry_limit_exceeded",
    "c.upstream_rq_retry_success",
    "c.upstream_rq_retry_overflow",
)
APART_S = 0.05


def _policy(retries: int, **other: object) -> RetryPolicy:
    return RetryPolicy(retries_max=retries, conditions=(RetryOn.SERVER_ERROR,), **other)  # type: ignore[arg-type]


CASES = (
    pair(
        "retry_x_outlier_the_second_host_answers",
        [SICK],
        retry=_policy(1),
        steps=times(6, get(), APART_S),
        cluster={"outlier_detection": EJECTS},
        stats=("c.outlier_detection.ejections_active",),
    ),
    single(
        "retry_x_outlier_ejected_between_tries",
        SICK,
        retry=_policy(4, backoff_base_s=0.2, backoff_s_max=0.2),
        cluster={"outlier_detection": EJECTS, "load_balancing": NO_PANIC},
        stats=("c.outlier_detection.ejections_active", "c.upstream_rq_retry"),
    ),
    single(
        "retry_x_breaker_x_timeout",
        SLOW,
        retry=_policy(2, per_try_timeout_s=0.2, budget=None),
        timeouts=Timeouts(request_s=1.0),
        cluster={"circuit_breaking": CircuitBreakingLimits(retries_max=1)},
        stats=STATS,
    ),
    single(
        "retry_x_breaker_requests_max_1",
        SICK,
        Answer(),
        retry=_policy(1),
        cluster={"circuit_breaking": CircuitBreakingLimits(requests_max=1)},
        stats=STATS,
    ),
    Case(
        name="retry_x_breaker_others_take_the_place",
        parts=plain(
            retry=_policy(1, backoff_base_s=0.01, backoff_s_max=0.01),
            circuit_breaking=CircuitBreakingLimits(connections_max=1, pending_requests_max=1),
        ),
        upstreams=(Upstream(name="u0", answers=(Answer(wait_s=0.3),)),),
        steps=(Together(talks=(get(),) * 4, stagger_s=0.03),),
        ordered=False,
        stats=STATS,
    ),
    pair(
        "retry_x_outlier_x_timeout_slow_host_is_ejected",
        [SLOW],
        retry=_policy(1, per_try_timeout_s=0.15),
        timeouts=Timeouts(request_s=2.0),
        steps=times(6, get(), APART_S),
        cluster={"outlier_detection": EJECTS},
        stats=("c.outlier_detection.ejections_active", "c.upstream_rq_retry"),
    ),
    single(
        "timeout_x_outlier_of_the_whole_request",
        SLOW,
        timeouts=Timeouts(request_s=0.2),
        steps=times(3, get(), APART_S),
        cluster={"outlier_detection": EJECTS, "load_balancing": NO_PANIC},
        stats=("c.outlier_detection.ejections_active",),
    ),
    single(
        "breaker_x_outlier_overflow_is_nobodys_fault",
        steps=times(4, get(), APART_S),
        cluster={
            "outlier_detection": EJECTS,
            "load_balancing": NO_PANIC,
            "circuit_breaking": CircuitBreakingLimits(pending_requests_max=0),
        },
        stats=("c.outlier_detection.ejections_active",),
    ),
    single(
        "client_gone_x_outlier",
        Answer(wait_s=0.5),
        steps=(*(attrs.evolve(get(), leaves_after_s=0.1) for _ in range(3)), Pause(seconds=0.6), get()),
        cluster={"outlier_detection": EJECTS, "load_balancing": NO_PANIC},
        stats=("c.outlier_detection.ejections_active",),
    ),
    single(
        "client_gone_x_retry_in_back_off",
        SICK,
        retry=_policy(3, backoff_base_s=5.0, backoff_s_max=5.0),
        steps=(attrs.evolve(get(), leaves_after_s=0.05), Pause(seconds=0.5)),
    ),
    Case(
        name="hedge_x_breaker_no_room_for_another",
        parts=plain(
            retry=_policy(2, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True, budget=None),
            circuit_breaking=CircuitBreakingLimits(retries_max=0),
        ),
        upstreams=(Upstream(name="u0", answers=(Answer(wait_s=0.6, body=b"first"), Answer())),),
        steps=(get(),),
        stats=STATS,
        takes=((0.5, 1.1),),
    ),
    pair(
        "hedge_x_retries_second_try_is_sick",
        [Answer(wait_s=2.5, body=b"late")],
        [SICK],
        retry=_policy(2, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        timeouts=Timeouts(request_s=1.2),
        steps=(get(),),
        stats=STATS,
    ),
    single(
        "hedge_x_outlier_slow_tries_count",
        Answer(wait_s=0.4),
        retry=_policy(2, per_try_timeout_s=0.15, hedge_on_per_try_timeout=True),
        steps=(get(),),
        cluster={"outlier_detection": EJECTS},
        stats=("c.outlier_detection.ejections_active",),
    ),
    single(
        "hedge_x_post_with_a_body",
        SLOW,
        Answer(body=b"fine"),
        retry=_policy(1, per_try_timeout_s=0.2, hedge_on_per_try_timeout=True),
        steps=(post(b"body"),),
        stats=STATS,
    ),
    Case(
        name="panic_x_retries_every_host_is_tried",
        parts=(
            *service(endpoints=[endpoint("u0"), *(endpoint(f"u{n}", healthy=False) for n in range(1, 4))]),
            outbound(route(retry=_policy(3))),
        ),
        upstreams=tuple(Upstream(name=f"u{n}", answers=(SICK,)) for n in range(4)),
        steps=times(4, get()),
        ordered=False,
        shares={f"u{n}": (4, 4) for n in range(4)},
    ),
    Case(
        name="priorities_x_outlier_traffic_spills",
        parts=(
            *service(
                endpoints=[endpoint("u0"), endpoint("u1", priority=1)],
                outlier_detection=EJECTS,
            ),
            outbound(),
        ),
        upstreams=(Upstream(name="u0", answers=(SICK,)), Upstream(name="u1")),
        steps=times(8, get(), APART_S),
        stats=("c.outlier_detection.ejections_active",),
    ),
    Case(
        name="priorities_x_retry_omits_tried_priority",
        parts=(
            *service(endpoints=[endpoint("u0"), endpoint("u1", priority=1)]),
            outbound(route(retry=_policy(1, host_selection=HostSelection(omit_priorities_every=1)))),
        ),
        upstreams=(Upstream(name="u0", answers=(SICK,)), Upstream(name="u1")),
        steps=times(3, get()),
    ),
    Case(
        name="priorities_x_retry_omits_in_turn",
        parts=(
            *service(endpoints=[endpoint(f"u{n}", priority=n) for n in range(3)]),
            outbound(route(retry=_policy(4, host_selection=HostSelection(omit_priorities_every=1)))),
        ),
        upstreams=tuple(Upstream(name=f"u{n}", answers=(SICK,)) for n in range(3)),
        steps=(get(),),
    ),
    Case(
        name="health_check_x_outlier_a_good_check_returns_the_host",
        parts=plain(
            "u0",
            health_checks=(
                HealthCheck(
                    kind=HealthCheckKind.HTTP, interval_s=0.3, timeout_s=0.5, no_traffic_interval_s=0.3, path="/healthz"
                ),
            ),
            outlier_detection=EJECTS,
            load_balancing=NO_PANIC,
        ),
        upstreams=(Upstream(name="u0", answers=(SICK, SICK, Answer()), by_path=(("/healthz", (Answer(),)),)),),
        steps=(get(), get(), Pause(seconds=1.2), get()),
        warm_s=0.7,
    ),
    Case(
        name="mirror_x_breaker_the_mirrors_overflow_is_silent",
        parts=(
            *service("a", name="a"),
            *service("b", name="b", circuit_breaking=CircuitBreakingLimits(pending_requests_max=0)),
            outbound(route(to="a", mirrors=(Mirror(cluster="b"),))),
        ),
        upstreams=(Upstream(name="a"), Upstream(name="b")),
        steps=times(2, get()),
        stats=("b.upstream_rq_pending_overflow",),
    ),
    Case(
        name="mirror_x_dead_mirror",
        parts=(
            *service("a", name="a"),
            *service("b", name="b"),
            outbound(route(to="a", mirrors=(Mirror(cluster="b"),))),
        ),
        upstreams=(Upstream(name="a"), Upstream(name="b", door=Door.SHUT)),
        steps=(get(), post()),
    ),
    Case(
        name="mirror_x_slow_mirror_does_not_slow",
        parts=(
            *service("a", name="a"),
            *service("b", name="b"),
            outbound(route(to="a", mirrors=(Mirror(cluster="b"),))),
        ),
        upstreams=(Upstream(name="a"), Upstream(name="b", answers=(Answer(wait_s=0.8),))),
        steps=(get(), Pause(seconds=1.0)),
        takes=((0.0, 0.5),),
        ordered=False,
    ),
    Case(
        name="rewrite_x_retry_each_try_is_rewritten",
        parts=(
            *service("u0"),
            outbound(
                route(
                    match=RouteMatch(path=PathMatch(value="/api")),
                    rewrite=Rewrite(hostname="other.example", path=PathRewrite(value="/v2", prefix=True)),
                    request_headers=(HeaderChanges(set=(("x-set", "1"),), add=(("x-add", "1"),)),),
                    retry=_policy(1),
                )
            ),
        ),
        upstreams=(Upstream(name="u0", answers=(SICK, Answer())),),
        steps=(get("/api/x?q=1", "x-add: 0"),),
    ),
    Case(
        name="weighted_backends_x_retry_stays_with_its_backend",
        parts=(
            *service("a", name="a"),
            *service("b", name="b"),
            outbound(
                route(backends=(Backend(cluster="a", weight=1), Backend(cluster="b", weight=0)), retry=_policy(2))
            ),
        ),
        upstreams=(Upstream(name="a", answers=(SICK, SICK, Answer())), Upstream(name="b")),
        steps=(get(),),
    ),
    Case(
        name="hash_x_retry_moves_on",
        parts=(
            *service("u0", "u1", "u2", load_balancing=LoadBalancing(balancer=Balancer.RING_HASH)),
            outbound(
                route(
                    hash_policies=(HashPolicy(source=HashSource.HEADER, name="x-user"),),
                    retry=_policy(3, host_selection=HostSelection(omit_previous_hosts=True, picks_max=3)),
                )
            ),
        ),
        upstreams=tuple(Upstream(name=f"u{n}", answers=(SICK,), host="127.0.77.1", port=21_900 + n) for n in range(3)),
        steps=(get("/", "x-user: a"),),
        ordered=False,
        shares={"u0": (1, 2), "u1": (1, 2), "u2": (1, 2)},
    ),
    Case(
        name="hash_x_outlier_moves_to_the_next",
        parts=(
            *service(
                "u0",
                "u1",
                "u2",
                load_balancing=LoadBalancing(balancer=Balancer.MAGLEV),
                outlier_detection=EJECTS,
            ),
            outbound(route(hash_policies=(HashPolicy(source=HashSource.HEADER, name="x-user"),))),
        ),
        upstreams=tuple(
            Upstream(name=f"u{n}", answers=(SICK, SICK, Answer()), host="127.0.77.1", port=21_910 + n) for n in range(3)
        ),
        steps=times(5, get("/", "x-user: a"), 0.1),
    ),
    single(
        "breaker_x_slow_upstream_queue_drains_in_order",
        Answer(wait_s=0.15),
        cluster={"circuit_breaking": CircuitBreakingLimits(connections_max=1)},
        steps=(Together(talks=tuple(get(f"/{n}") for n in range(4)), stagger_s=0.03),),
    ),
    single(
        "breaker_x_timeout_while_pending",
        Answer(wait_s=0.8),
        timeouts=Timeouts(request_s=0.4),
        cluster={"circuit_breaking": CircuitBreakingLimits(connections_max=1)},
        steps=(Together(talks=(get("/0"), get("/1")), stagger_s=0.2),),
        ordered=False,
    ),
    Case(
        name="connect_failure_x_outlier_x_retry",
        parts=plain(
            "dead",
            "u0",
            retry=RetryPolicy(retries_max=1, conditions=(RetryOn.CONNECT_FAILURE,)),
            outlier_detection=EJECTS,
        ),
        upstreams=(Upstream(name="dead", door=Door.SHUT), Upstream(name="u0")),
        steps=times(8, get(), APART_S),
        ordered=False,
        compares_replies=False,
        shares={"u0": (8, 8)},
        stats=("c.outlier_detection.ejections_active",),
    ),
)
