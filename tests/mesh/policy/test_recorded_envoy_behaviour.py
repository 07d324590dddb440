"""What a real Envoy did, recorded once, against what the policies decide together: tries, flags, who was ejected.

The cases bear the names of the recording. Upstreams are scripted, time is virtual, nothing waits.
"""

import collections
import heapq
import itertools
import random
from collections.abc import Callable, Iterator

import attrs
import pytest

from mesh.policy.circuit_breaking import CircuitBreaker, CircuitBreakingLimits
from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import Balancer, EndpointSelector, LoadBalancing
from mesh.policy.outlier_detection import Detector, HostRecord, OutlierDetection, OutlierDetector
from mesh.policy.retry import GiveUp, RetryOn, RetryPolicy, RetryRules, RetryState
from mesh.policy.retry_budget import RetryBudget
from mesh.policy.timeout import Deadlines, Expiry, Timeouts
from tests.mesh.policy.heads import request, response
from tests.mesh.policy.load_balancing.balanced_host import BalancedHost

Outcome = int | FailureKind | None  # a status, a failure, or an upstream that never answers
DEFAULT_S = Timeouts().request_s


@attrs.frozen
class Finished:
    tries: int
    flags: frozenset[str]
    at_s: tuple[float, ...]  # when each try was sent
    ended_s: float


def flags_of(*words: str) -> frozenset[str]:
    return frozenset(words)


def run_request(policy: RetryPolicy, request_s: float, upstream: Callable[[int], Outcome], seed: int) -> Finished:
    """Do what a proxy does with one request whose upstream answers at once or never."""
    timeouts = Timeouts(request_s=request_s)
    rules = RetryRules(policy, request_timeout_s=request_s)
    breaker = CircuitBreaker()
    state = RetryState(rules, breaker, "GET", request())
    deadlines, generator = Deadlines(), random.Random(seed)
    now, sent_at, flags = 0.0, list[float](), set[str]()
    deadlines.begin(timeouts, now)
    deadlines.begin_response_wait(timeouts, now)
    while True:
        assert breaker.admit_request()
        sent_at.append(now)
        deadlines.begin_try(rules.per_try_timeout_s, now)
        outcome = upstream(len(sent_at))
        if outcome is None:
            now = deadlines.earliest()
            per_try = deadlines.expired() is Expiry.PER_TRY
            outcome = FailureKind.PER_TRY_TIMEOUT if per_try else FailureKind.REQUEST_TIMEOUT
        deadlines.end_try()
        if isinstance(outcome, FailureKind):
            decision = state.after_failure(outcome, request_sent=True, now=now, random=generator)
        else:
            decision = state.after_response(response(outcome), now=now, wall_clock_s=now, random=generator)
        breaker.release_request()
        if isinstance(decision, GiveUp):
            flags |= {decision.flag.value} if decision.flag else set()
            flags |= {outcome.flag.value} if isinstance(outcome, FailureKind) else set()
            break
        if now + decision.delay_s >= deadlines.earliest():
            now = deadlines.earliest()
            flags.add(FailureKind.REQUEST_TIMEOUT.flag.value)
            break
        now += decision.delay_s
    state.close()
    assert breaker.retries == 0
    return Finished(len(sent_at), frozenset(flags), tuple(sent_at), now)


ON_5XX = (RetryOn.SERVER_ERROR,)


@pytest.mark.parametrize(
    ("name", "policy", "request_s", "upstream", "tries", "flags"),
    [
        ("retry_5xx_always_503", RetryPolicy(conditions=ON_5XX, retries_max=2), DEFAULT_S, [503] * 9, 3, {"URX"}),
        ("retry_5xx_third_ok", RetryPolicy(conditions=ON_5XX, retries_max=2), DEFAULT_S, [503, 503, 200], 3, set()),
        (
            "retry_reset",
            RetryPolicy(conditions=ON_5XX, retries_max=2),
            DEFAULT_S,
            [FailureKind.CONNECTION_TERMINATION] * 9,
            3,
            {"URX", "UC"},
        ),
        ("noretry_reset", RetryPolicy(), DEFAULT_S, [FailureKind.CONNECTION_TERMINATION], 1, {"UC"}),
        ("retry_5xx_on_404", RetryPolicy(conditions=ON_5XX, retries_max=2), DEFAULT_S, [404], 1, set()),
        (
            "retry_gateway_error_on_500",
            RetryPolicy(conditions=(RetryOn.GATEWAY_ERROR,), retries_max=2),
            DEFAULT_S,
            [500],
            1,
            set(),
        ),
        ("retry_status_codes_409", RetryPolicy(status_codes=(409,), retries_max=2), DEFAULT_S, [409] * 9, 3, {"URX"}),
        (
            "per_try_timeout",
            RetryPolicy(conditions=ON_5XX, retries_max=2, per_try_timeout_s=0.1),
            DEFAULT_S,
            [None] * 9,
            3,
            {"URX", "UT"},
        ),
        ("timeout", RetryPolicy(), 0.2, [None], 1, {"UT"}),
        (
            "timeout_with_retry_no_per_try",
            RetryPolicy(conditions=ON_5XX, retries_max=2),
            0.2,
            [None] * 9,
            1,
            {"UT"},
        ),
        (
            "retry_backoff_base_100ms",
            RetryPolicy(conditions=ON_5XX, retries_max=4, backoff_base_s=0.1, backoff_s_max=0.3),
            DEFAULT_S,
            [503] * 9,
            5,
            {"URX"},
        ),
        ("client_header_retry", RetryPolicy(), DEFAULT_S, [503], 1, set()),
        ("connect_refused", RetryPolicy(), DEFAULT_S, [FailureKind.CONNECT_FAILURE], 1, {"UF"}),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_tries_and_flags(
    name: str, policy: RetryPolicy, request_s: float, upstream: list[Outcome], tries: int, flags: set[str], seed: int
) -> None:
    finished = run_request(policy, request_s, lambda number: upstream[number - 1], seed)
    assert (finished.tries, finished.flags) == (tries, frozenset(flags)), name


def test_per_try_timeout_in_total() -> None:
    """Recorded: 2 tries and UT after 0.25 s. The back-offs' draws decide whether a third try begins before that."""
    policy = RetryPolicy(conditions=ON_5XX, retries_max=5, per_try_timeout_s=0.1)
    runs = [run_request(policy, 0.25, lambda number: None, seed) for seed in range(50)]
    assert {run.ended_s for run in runs} == {0.25}
    assert {run.flags for run in runs} == {flags_of("UT")}
    assert {run.tries for run in runs} == {2, 3}


@pytest.mark.parametrize(
    ("base_s", "longest_s", "gaps_s_max"),
    [(0.025, 0.25, (0.025, 0.05)), (0.1, 0.3, (0.1, 0.2, 0.3, 0.3))],
)
def test_gaps_between_tries_stay_in_their_intervals(
    base_s: float, longest_s: float, gaps_s_max: tuple[float, ...]
) -> None:
    """Recorded: 0, 4, 37 ms (retry_5xx_always_503) and 0, 46, 115, 323, 456 ms (retry_backoff_base_100ms)."""
    policy = RetryPolicy(conditions=ON_5XX, retries_max=len(gaps_s_max), backoff_base_s=base_s, backoff_s_max=longest_s)
    for seed in range(50):
        at_s = run_request(policy, DEFAULT_S, lambda number: 503, seed).at_s
        gaps_s = [later - earlier for earlier, later in itertools.pairwise(at_s)]
        assert all(gap <= most for gap, most in zip(gaps_s, gaps_s_max, strict=True))


def run_concurrently(count: int, policy: RetryPolicy, limits: CircuitBreakingLimits) -> dict[tuple[str, int], int]:
    """Send `count` requests at once to an upstream that answers 503 to all; return `{(flag, tries): how many}`."""
    breaker, rules, generator = (
        CircuitBreaker(limits),
        RetryRules(policy, request_timeout_s=DEFAULT_S),
        random.Random(5),
    )
    states = [RetryState(rules, breaker, "GET", request()) for _ in range(count)]
    for _ in states:
        assert breaker.admit_request()
    answers = [(0.001, index) for index in range(count)]  # (when, whose)
    ended: list[tuple[str, int]] = []
    while answers:
        now, index = heapq.heappop(answers)
        state = states[index]
        decision = state.after_response(response(503), now=now, wall_clock_s=now, random=generator)
        if isinstance(decision, GiveUp):
            assert decision.flag is not None
            ended.append((decision.flag.value, state.retries + 1))
            breaker.release_request()
            state.close()
        else:
            # All first answers come at once; a retry's comes after its back-off.
            heapq.heappush(answers, (now + 0.01 + decision.delay_s, index))
    assert breaker.retries == breaker.requests == 0
    return collections.Counter(ended)


def test_retry_overflow_max_retries_1() -> None:
    policy = RetryPolicy(conditions=ON_5XX, retries_max=1, budget=None)
    ended = run_concurrently(6, policy, CircuitBreakingLimits(retries_max=1))
    assert ended == {("UO", 1): 5, ("URX", 2): 1}


def test_retry_budget_20pct_min2_of_20_concurrent() -> None:
    budget = RetryBudget(percent=20.0, concurrency_min=2)
    ended = run_concurrently(20, RetryPolicy(conditions=ON_5XX, retries_max=1, budget=budget), CircuitBreakingLimits())
    # 20 x 20 % are 4 at the first answer; as requests end the share falls, which refuses the rest.
    assert ended == {("UO", 1): 16, ("URX", 2): 4}


def test_cb_max_requests_1_http1() -> None:
    breaker = CircuitBreaker(CircuitBreakingLimits(requests_max=1))
    assert [breaker.admit_request() for _ in range(5)].count(True) == 1
    assert breaker.request_overflows == 4


def test_cb_max_pending_1_max_conn_1() -> None:
    """Five at once: one gets the connection, one waits, three overflow."""
    breaker = CircuitBreaker(CircuitBreakingLimits(connections_max=1, pending_requests_max=1))
    assert breaker.admit_pending()
    assert breaker.admit_connection(first_of_host=True)
    breaker.release_pending()
    assert breaker.admit_request()
    assert [breaker.admit_pending() for _ in range(4)] == [True, False, False, False]
    assert not breaker.admit_connection()
    assert (breaker.connection_overflows, breaker.pending_overflows) == (1, 3)


@attrs.define(eq=False)
class Upstream(BalancedHost):
    record: HostRecord = attrs.field(kw_only=True)
    status: int = attrs.field(kw_only=True)


class Cluster:
    """Hosts in turns with outlier detection: sends requests, keeps what came back."""

    def __init__(self, status_by_name: dict[str, int], config: OutlierDetection, panic_percent: float) -> None:
        self.detector = OutlierDetector(config)
        self.hosts = [
            Upstream(name, record=self.detector.add_host(name), status=status)
            for name, status in status_by_name.items()
        ]
        self.config = LoadBalancing(balancer=Balancer.ROUND_ROBIN, panic_percent=panic_percent)
        self.random = random.Random(2)
        self.selector: EndpointSelector[Upstream] | None = None
        self.rebuild()

    def rebuild(self) -> None:
        self.selector = EndpointSelector(
            self.config,
            self.hosts,
            lambda host: not host.record.ejected,
            self.random,
            now=0.0,
            previous=self.selector,
        )

    @property
    def panics(self) -> int:
        assert self.selector is not None
        return self.selector.panic_picks

    def request(self, now: float) -> int:
        """Return the status; 0: no healthy upstream."""
        assert self.selector is not None
        host = self.selector.pick(now)
        if host is None:
            return 0
        if self.detector.on_response(host.record, host.status, now, self.random):
            self.rebuild()
        return host.status

    def tick(self, now: float) -> None:
        tick = self.detector.tick(now, self.random)
        if tick.returned or tick.ejected:
            self.rebuild()


RECORDED_OUTLIERS = OutlierDetection(consecutive_5xx=3, interval_s=0.5, base_ejection_s=1.0, ejection_percent_max=50)


def test_outlier_consecutive_5xx_3() -> None:
    """Recorded: ejected at the third 500; back at 1.5 s, out again at the third 500, back at 3.99 s."""

    def hits(cluster: Cluster) -> Iterator[float]:
        for step in range(1, 100):
            now = step * 0.045  # the recording's pace
            if now % 0.5 < 0.045:
                cluster.tick(now - now % 0.5)
            if cluster.request(now) == 500:
                yield now

    cluster = Cluster({"bad": 500, "good": 200}, RECORDED_OUTLIERS, 0.0)
    times_s = list(hits(cluster))
    assert len(times_s[:3]) == 3 and times_s[2] < 0.3
    assert 1.5 <= times_s[3] < 1.6 and times_s[5] < 1.8
    assert 4.0 <= times_s[6] < 4.1
    assert cluster.detector.enforced[Detector.CONSECUTIVE_5XX] == 3


def test_outlier_all_bad_panic_default_50() -> None:
    config = attrs.evolve(RECORDED_OUTLIERS, ejection_percent_max=100)
    cluster = Cluster({"bad": 500, "bad2": 500}, config, 50.0)
    assert [cluster.request(0.01 * number) for number in range(20)] == [500] * 20
    assert cluster.detector.ejected_count == 2
    assert cluster.panics == 14


def test_outlier_all_bad_panic_0() -> None:
    config = attrs.evolve(RECORDED_OUTLIERS, ejection_percent_max=100)
    cluster = Cluster({"bad": 500, "bad2": 500}, config, 0.0)
    assert [cluster.request(0.01 * number) for number in range(20)] == [500] * 6 + [0] * 14
    assert cluster.detector.ejected_count == 2
    assert cluster.panics == 0


def test_outlier_max_ejection_percent_default_10_of_3_hosts() -> None:
    """Recorded: 8 overflows, nothing ejected, turns go on: what 12 failures of each bad host give at a threshold of 3."""
    config = attrs.evolve(RECORDED_OUTLIERS, ejection_percent_max=10)
    cluster = Cluster({"bad": 500, "bad2": 500, "good": 200}, config, 50.0)
    assert collections.Counter(cluster.request(0.01 * number) for number in range(36)) == {500: 24, 200: 12}
    assert (cluster.detector.ejected_count, cluster.detector.overflows) == (0, 8)


def test_outlier_connection_reset_counts_as_5xx() -> None:
    detector = OutlierDetector(attrs.evolve(RECORDED_OUTLIERS, ejection_percent_max=50))
    host = detector.add_host("bad")
    detector.add_host("good")
    fired = [
        detector.on_local_failure(host, FailureKind.CONNECTION_TERMINATION, 0.1 * number, random.Random(1))
        for number in range(3)
    ]
    assert fired == [False, False, True]
    assert {detector_: count for detector_, count in detector.enforced.items() if count} == {
        Detector.CONSECUTIVE_5XX: 1
    }
