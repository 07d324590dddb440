"""Load balancing: who gets how much, what sticks, priorities, localities, panic, health checks."""

from collections.abc import Sequence

import attrs

from mesh.config.snapshot import Cluster, Endpoint
from mesh.model.traffic import Protocol
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import Balancer, HashFunction, LoadBalancing
from mesh.policy.request_hash import HashPolicy, HashSource
from tests.envoy.case import ROUND_ROBIN, Bounds, Case, endpoint, outbound, plain, route, service
from tests.envoy.script import Answer, Door, Pause, Step, Together, Upstream, get, times

RANDOM = LoadBalancing(balancer=Balancer.RANDOM)
LEAST_REQUEST = LoadBalancing()
RING = LoadBalancing(balancer=Balancer.RING_HASH)
MAGLEV = LoadBalancing(balancer=Balancer.MAGLEV)
BY_USER = (HashPolicy(source=HashSource.HEADER, name="x-user"),)
THREE = ("u0", "u1", "u2")


def _upstreams(names: Sequence[str], *, first_port: int = 0) -> tuple[Upstream, ...]:
    """Rings place an endpoint by its address: with `first_port` they are the same in each run."""
    return tuple(
        Upstream(
            name=name,
            host="127.0.77.1" if first_port else "127.0.0.1",
            port=first_port + number if first_port else 0,
        )
        for number, name in enumerate(names)
    )


def _spread(
    name: str, balancing: LoadBalancing, endpoints: Sequence[Endpoint], shares: dict[str, Bounds], count: int
) -> Case:
    """Many requests, and how many of them each upstream may get."""
    return Case(
        name=name,
        parts=(*service(endpoints=endpoints, load_balancing=balancing), outbound()),
        upstreams=_upstreams([each.name for each in endpoints]),
        steps=times(count, get()),
        ordered=False,
        shares=shares,
    )


def _hashed(
    name: str,
    balancing: LoadBalancing,
    policies: tuple[HashPolicy, ...],
    steps: Sequence[Step],
    first_port: int,
    endpoints: Sequence[Endpoint] = (),
) -> Case:
    made = endpoints or tuple(endpoint(each) for each in THREE)
    return Case(
        name=name,
        parts=(*service(endpoints=made, load_balancing=balancing), outbound(route(hash_policies=policies))),
        upstreams=_upstreams([each.name for each in made], first_port=first_port),
        steps=tuple(steps),
    )


def _users(count: int) -> tuple[Step, ...]:
    return tuple(get("/", f"x-user: user{number}") for number in range(count))


SPREAD = (
    Case(
        name="lb_round_robin",
        parts=plain(*THREE),
        upstreams=_upstreams(THREE),
        steps=times(12, get()),
        first_asked_first=True,
    ),
    _spread("lb_random", RANDOM, [endpoint(name) for name in THREE], dict.fromkeys(THREE, (60, 140)), 300),
    _spread(
        "lb_least_request_idle", LEAST_REQUEST, [endpoint(name) for name in THREE], dict.fromkeys(THREE, (25, 55)), 120
    ),
    _spread(
        "lb_weights_3_1",
        ROUND_ROBIN,
        [endpoint("u0", weight=3), endpoint("u1")],
        {"u0": (59, 61), "u1": (19, 21)},
        80,
    ),
    _spread(
        "lb_least_request_weights_3_1",
        LEAST_REQUEST,
        [endpoint("u0", weight=3), endpoint("u1")],
        {"u0": (59, 61), "u1": (19, 21)},
        80,
    ),
    _spread(
        "lb_locality_weights_9_1",
        ROUND_ROBIN,
        [endpoint("u0", locality="a", locality_weight=9), endpoint("u1", locality="b", locality_weight=1)],
        {"u0": (88, 92), "u1": (8, 12)},
        100,
    ),
    _spread(
        "lb_locality_half_unhealthy",
        ROUND_ROBIN,
        [
            endpoint("u0", locality="a", locality_weight=1),
            endpoint("u1", locality="a", locality_weight=1, healthy=False),
            endpoint("u2", locality="b", locality_weight=1),
            endpoint("u3", locality="b", locality_weight=1),
        ],
        {"u0": (38, 45), "u1": (0, 0), "u2": (26, 32), "u3": (26, 32)},
        100,
    ),
    _spread(
        "lb_priority_all_healthy",
        ROUND_ROBIN,
        [endpoint("u0"), endpoint("u1"), endpoint("u2", priority=1)],
        {"u0": (15, 15), "u1": (15, 15), "u2": (0, 0)},
        30,
    ),
    _spread(
        "lb_priority_half_of_p0_unhealthy",
        ROUND_ROBIN,
        [endpoint("u0"), endpoint("u1", healthy=False), endpoint("u2", priority=1)],
        {"u0": (180, 240), "u1": (0, 0), "u2": (60, 120)},
        300,
    ),
    _spread(
        "lb_priority_p0_all_unhealthy",
        ROUND_ROBIN,
        [endpoint("u0", healthy=False), endpoint("u1", priority=1)],
        {"u0": (0, 0), "u1": (20, 20)},
        20,
    ),
    _spread(
        "lb_priority_panic_in_both",
        ROUND_ROBIN,
        [
            endpoint("u0"),
            *(endpoint(f"u{number}", healthy=False) for number in range(1, 5)),
            *(endpoint(f"u{number}", priority=1, healthy=False) for number in range(5, 8)),
        ],
        {f"u{number}": (1 if number < 5 else 0, 60) for number in range(8)},
        120,
    ),
    _spread(
        "lb_draining_endpoint",
        ROUND_ROBIN,
        [endpoint("u0"), endpoint("u1", healthy=False)],
        {"u0": (30, 30), "u1": (0, 0)},
        30,
    ),
    _spread(
        "lb_panic_uses_unhealthy_ones",
        ROUND_ROBIN,
        [endpoint("u0"), endpoint("u1", healthy=False), endpoint("u2", healthy=False)],
        dict.fromkeys(THREE, (10, 10)),
        30,
    ),
    Case(
        name="lb_panic_fails_traffic",
        parts=(
            *service(
                endpoints=[endpoint("u0"), endpoint("u1", healthy=False), endpoint("u2", healthy=False)],
                load_balancing=LoadBalancing(balancer=Balancer.ROUND_ROBIN, fail_traffic_on_panic=True),
            ),
            outbound(),
        ),
        upstreams=_upstreams(THREE),
        steps=times(3, get()),
    ),
    Case(
        name="lb_least_request_avoids_the_busy",
        parts=plain("first", "second", load_balancing=LoadBalancing(choice_count=10)),
        upstreams=(Upstream(name="first", answers=(Answer(wait_s=1.5), Answer())), Upstream(name="second")),
        steps=(Together(talks=(get("/slow"), *(get(),) * 4), stagger_s=0.15),),
        first_asked_first=True,
        ordered=False,
    ),
    Case(
        name="no_endpoints",
        parts=(Cluster(name="c", protocol=Protocol.HTTP), outbound()),
        steps=(get(), get("/", "content-type: application/grpc")),
    ),
)

HASHED = (
    _hashed("lb_ring_hash_header", RING, BY_USER, _users(24), 21_700),
    _hashed("lb_maglev_header", MAGLEV, BY_USER, _users(24), 21_710),
    _hashed(
        "lb_ring_hash_murmur",
        LoadBalancing(balancer=Balancer.RING_HASH, hash_function=HashFunction.MURMUR_HASH_2),
        BY_USER,
        _users(16),
        21_720,
    ),
    _hashed(
        "lb_ring_hash_weights",
        RING,
        BY_USER,
        _users(24),
        21_730,
        [endpoint("u0", weight=4), endpoint("u1"), endpoint("u2", weight=2)],
    ),
    _hashed(
        "lb_maglev_weights",
        MAGLEV,
        BY_USER,
        _users(24),
        21_740,
        [endpoint("u0", weight=4), endpoint("u1"), endpoint("u2", weight=2)],
    ),
    _hashed(
        "lb_maglev_small_table",
        LoadBalancing(balancer=Balancer.MAGLEV, table_size=251),
        BY_USER,
        _users(16),
        21_750,
    ),
    _hashed(
        "lb_ring_hash_one_unhealthy",
        RING,
        BY_USER,
        _users(16),
        21_760,
        [endpoint("u0"), endpoint("u1", healthy=False), endpoint("u2")],
    ),
    _hashed(
        "lb_hash_connection",
        RING,
        (HashPolicy(source=HashSource.CONNECTION),),
        times(6, get()),
        21_770,
    ),
    _hashed(
        "lb_hash_query",
        RING,
        (HashPolicy(source=HashSource.QUERY_PARAMETER, name="user"),),
        tuple(get(f"/?a=1&user=u{number}&b=2") for number in range(10)),
        21_780,
    ),
    _hashed(
        "lb_hash_cookie_sent",
        MAGLEV,
        (HashPolicy(source=HashSource.COOKIE, name="s"),),
        tuple(get("/", f"cookie: a=b; s=value{number}; t=1") for number in range(10)),
        21_790,
    ),
    _hashed(
        "lb_hash_cookie_made",
        RING,
        (HashPolicy(source=HashSource.COOKIE, name="s", cookie_ttl_s=3600.0, cookie_path="/"),),
        (get("/", "cookie: s=known"),),
        21_800,
    ),
    Case(
        name="lb_hash_cookie_is_set",
        parts=(
            *service("u0", load_balancing=RING),
            outbound(
                route(
                    hash_policies=(
                        HashPolicy(source=HashSource.COOKIE, name="s", cookie_ttl_s=3600.0, cookie_path="/a"),
                    )
                )
            ),
        ),
        steps=(get(),),
    ),
    _hashed(
        "lb_hash_two_policies",
        RING,
        (
            HashPolicy(source=HashSource.HEADER, name="x-user"),
            HashPolicy(source=HashSource.QUERY_PARAMETER, name="q"),
        ),
        (
            *(get(f"/?q={number}", "x-user: same") for number in range(6)),
            *(get(f"/?q={number}") for number in range(6)),
        ),
        21_810,
    ),
    _hashed(
        "lb_hash_terminal_policy",
        RING,
        (
            HashPolicy(source=HashSource.HEADER, name="x-user", terminal=True),
            HashPolicy(source=HashSource.QUERY_PARAMETER, name="q"),
        ),
        (
            *(get(f"/?q={number}", "x-user: same") for number in range(6)),
            *(get(f"/?q={number}") for number in range(6)),
        ),
        21_820,
    ),
)

_CHECK = HealthCheck(
    kind=HealthCheckKind.HTTP,
    interval_s=0.2,
    timeout_s=0.5,
    no_traffic_interval_s=0.2,
    unhealthy_threshold=2,
    path="/healthz",
)
_NO_PANIC = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=0.0)


def _checked(name: str, check: HealthCheck, health: Sequence[Answer], steps: Sequence[Step], **other: object) -> Case:
    return Case(
        name=name,
        parts=plain("u0", health_checks=(check,), load_balancing=_NO_PANIC),
        upstreams=(Upstream(name="u0", by_path=(("/healthz", tuple(health)),)),),
        steps=tuple(steps),
        warm_s=0.7,
        **other,  # type: ignore[arg-type]
    )


HEALTH = (
    _checked("health_check_healthy", _CHECK, [Answer()], [get()]),
    _checked(
        "health_check_panic_0",
        _CHECK,
        [Answer(status=503)],
        [Pause(seconds=1.0), get()],
    ),
    _checked(
        "health_check_comes_back",
        _CHECK,
        [Answer(status=503), Answer()],
        [Pause(seconds=1.2), get()],
    ),
    _checked(
        "health_check_timeout_below_the_threshold",
        _CHECK,
        [Answer(), Answer(wait_s=0.8), Answer()],
        [Pause(seconds=1.4), get()],
    ),
    Case(
        name="health_check_panic_default",
        parts=plain("u0", health_checks=(_CHECK,)),
        upstreams=(Upstream(name="u0", by_path=(("/healthz", (Answer(status=503),)),)),),
        steps=(get(),),
        warm_s=0.7,
    ),
    Case(
        name="health_check_takes_one_of_two_away",
        parts=plain("u0", "u1", health_checks=(_CHECK,), load_balancing=_NO_PANIC),
        upstreams=(
            Upstream(name="u0", by_path=(("/healthz", (Answer(status=500),)),)),
            Upstream(name="u1", by_path=(("/healthz", (Answer(),)),)),
        ),
        steps=times(6, get()),
        warm_s=0.7,
    ),
    Case(
        name="health_check_tcp",
        parts=plain(
            "dead",
            "u0",
            health_checks=(
                HealthCheck(
                    kind=HealthCheckKind.TCP,
                    interval_s=0.2,
                    timeout_s=0.5,
                    no_traffic_interval_s=0.2,
                    unhealthy_threshold=1,
                ),
            ),
            load_balancing=_NO_PANIC,
        ),
        upstreams=(Upstream(name="dead", door=Door.SHUT), Upstream(name="u0")),
        steps=times(6, get()),
        warm_s=1.0,
    ),
    Case(
        name="health_check_immediate_fail_header",
        parts=plain("u0", health_checks=(attrs.evolve(_CHECK, interval_s=2.0),), load_balancing=_NO_PANIC),
        upstreams=(
            Upstream(
                name="u0",
                answers=(Answer(headers=(("x-envoy-immediate-health-check-fail", "true"),)), Answer()),
                by_path=(("/healthz", (Answer(),)),),
            ),
        ),
        steps=(get(), Pause(seconds=0.3), get()),
        warm_s=0.7,
    ),
)
CASES = SPREAD + HASHED + HEALTH
