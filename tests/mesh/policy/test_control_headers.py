"""Control headers: what a trusted caller's request changes, and that nothing it holds can break us."""

import random

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.control_headers import CONTROL_NAMES, ControlHeaders
from mesh.policy.failure import FailureKind
from mesh.policy.retry import RetryAfter, RetryOn, RetryPolicy, RetryRules, RetryState
from mesh.policy.routing import HeaderMatch, ValueMatchKind
from mesh.policy.timeout import Timeouts
from tests.mesh.policy.heads import Head, request, response

TIMEOUTS = Timeouts()
NO_POLICY = RetryPolicy()
POLICY = RetryPolicy(conditions=(RetryOn.RESET,), retries_max=3, status_codes=(409,), per_try_timeout_s=2.0)


def applied(policy: RetryPolicy = NO_POLICY, /, **fields: str) -> tuple[RetryPolicy, Timeouts]:
    control = ControlHeaders.read(request(**fields))
    assert control is not None
    return control.apply(policy, TIMEOUTS)


def test_request_without_control_headers_has_none() -> None:
    assert ControlHeaders.read(request(host="x", x_envoy_attempt_count="1", x_request_id="7")) is None


ON_RESET = RetryPolicy(conditions=(RetryOn.RESET,), retries_max=3)
ON_409 = RetryPolicy(conditions=(RetryOn.RETRIABLE_STATUS_CODES,), status_codes=(409,), retries_max=3)
SICK, ODD, AGAIN = response(503), response(418), response(200, x_again="1")
GRPC_UNAVAILABLE = response(200, grpc_status="14")


@pytest.mark.parametrize(
    ("policy", "fields", "answer", "tries", "flag"),
    [
        (NO_POLICY, {"x_envoy_retry_on": "5xx"}, SICK, 2, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "3"}, SICK, 4, "URX"),
        (NO_POLICY, {"x_envoy_max_retries": "3"}, SICK, 1, None),
        (NO_POLICY, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "0"}, SICK, 1, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "+2"}, SICK, 3, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "x"}, SICK, 2, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "2.5"}, SICK, 2, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "5XX"}, SICK, 1, None),
        (NO_POLICY, {"x_envoy_retry_on": "nonsense, 5xx"}, SICK, 2, "URX"),
        (NO_POLICY, {"x_envoy_retry_grpc_on": "5xx"}, SICK, 1, None),
        (NO_POLICY, {"x_envoy_retry_grpc_on": "unavailable"}, GRPC_UNAVAILABLE, 2, "URX"),
        (NO_POLICY, {"x_envoy_retry_on": "unavailable"}, GRPC_UNAVAILABLE, 1, None),
        (NO_POLICY, {"x_envoy_retriable_status_codes": "418", "x_envoy_retry_on": "5xx"}, ODD, 1, None),
        (
            NO_POLICY,
            {"x_envoy_retriable_status_codes": "418", "x_envoy_retry_on": "retriable-status-codes"},
            ODD,
            2,
            "URX",
        ),
        (ON_409, {"x_envoy_retriable_status_codes": " 418 ,x,409"}, ODD, 4, "URX"),
        (ON_409, {"x_envoy_retriable_status_codes": "418"}, response(409), 4, "URX"),
        (ON_RESET, {"x_envoy_retriable_status_codes": "418"}, ODD, 1, None),
        (
            NO_POLICY,
            {"x_envoy_retriable_header_names": "X-Again", "x_envoy_retry_on": "retriable-headers"},
            AGAIN,
            2,
            "URX",
        ),
        (NO_POLICY, {"x_envoy_retriable_header_names": "x-again", "x_envoy_retry_on": "5xx"}, AGAIN, 1, None),
        (ON_RESET, {"x_envoy_retry_on": "5xx"}, SICK, 4, "URX"),
        (ON_RESET, {"x_envoy_retry_on": "5xx", "x_envoy_max_retries": "1"}, SICK, 2, "URX"),
        (attrs.evolve(ON_RESET, methods=("POST",)), {"x_envoy_retry_on": "5xx"}, SICK, 1, None),
    ],
)
def test_tries_and_flags_are_those_of_a_real_envoy(
    policy: RetryPolicy, fields: dict[str, str], answer: Head, tries: int, flag: str | None
) -> None:
    """Recorded from Envoy, behind a route with this policy: how often the upstream was asked, and the flag in the log."""
    asked, timeouts = applied(policy, **fields)
    state = RetryState(RetryRules(asked, request_timeout_s=timeouts.request_s), CircuitBreaker(), "GET", request())
    draws = random.Random(1)
    while isinstance(decision := state.after_response(answer, now=0.0, wall_clock_s=0.0, random=draws), RetryAfter):
        pass
    assert state.retries + 1 == tries
    assert (decision.flag.value if decision.flag else None) == flag


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({"x_envoy_retry_on": "5xx"}, (RetryOn.SERVER_ERROR,)),
        ({"x_envoy_retry_on": " gateway-error ,,reset"}, (RetryOn.GATEWAY_ERROR, RetryOn.RESET)),
        ({"x_envoy_retry_on": "5xx,5xx, sometimes,5XX"}, (RetryOn.SERVER_ERROR,)),
        ({"x_envoy_retry_grpc_on": "unavailable, cancelled"}, (RetryOn.UNAVAILABLE, RetryOn.CANCELLED)),
        ({"x_envoy_retry_on": "unavailable"}, ()),  # each header knows its own words
        ({"x_envoy_retry_grpc_on": "5xx"}, ()),
        (
            {"x_envoy_retry_on": "retriable-4xx", "x_envoy_retry_grpc_on": "internal"},
            (RetryOn.RETRIABLE_4XX, RetryOn.INTERNAL),
        ),
    ],
)
def test_conditions_are_read(fields: dict[str, str], conditions: tuple[RetryOn, ...]) -> None:
    policy, timeouts = applied(**fields)
    assert policy.conditions == conditions
    assert policy.retries_max == (1 if conditions else 0)  # Envoy's num_retries
    assert timeouts == TIMEOUTS


def test_conditions_join_the_policys() -> None:
    policy, _ = applied(POLICY, x_envoy_retry_on="5xx,reset")
    assert policy.conditions == (RetryOn.RESET, RetryOn.SERVER_ERROR)
    assert attrs.evolve(policy, conditions=POLICY.conditions) == POLICY


@pytest.mark.parametrize(
    ("value", "retries_max"),
    [("7", 7), ("0", 0), (" 7", 7), ("+7", 7), ("-1", 3), ("7.0", 3), ("", 3), ("many", 3), ("99999999999", 2**32 - 1)],
)
def test_number_of_retries_takes_the_place_of_the_policys(value: str, retries_max: int) -> None:
    assert applied(POLICY, x_envoy_max_retries=value)[0].retries_max == retries_max


def test_number_of_retries_alone_asks_for_none() -> None:
    assert applied(x_envoy_max_retries="7") == (NO_POLICY, TIMEOUTS)
    assert applied(x_envoy_retry_on="5xx", x_envoy_max_retries="7")[0].retries_max == 7


def test_status_codes_count_only_where_somebody_asks_for_status_codes() -> None:
    codes = "502, 418,x,70000,418"
    assert applied(POLICY, x_envoy_retriable_status_codes=codes)[0].status_codes == (409, 502, 418)
    by_reset = attrs.evolve(POLICY, status_codes=())
    assert applied(by_reset, x_envoy_retriable_status_codes=codes)[0].status_codes == ()
    asked, _ = applied(by_reset, x_envoy_retriable_status_codes=codes, x_envoy_retry_on="retriable-status-codes")
    assert RetryRules(asked, request_timeout_s=15.0).statuses == {502, 418}


def test_header_names_count_under_their_condition() -> None:
    policy, _ = applied(x_envoy_retriable_header_names="X-Again, x-more,,x-again", x_envoy_retry_on="retriable-headers")
    assert policy.response_headers == (
        HeaderMatch(name="x-again", kind=ValueMatchKind.PRESENT),
        HeaderMatch(name="x-more", kind=ValueMatchKind.PRESENT),
    )
    rules = RetryRules(policy, request_timeout_s=15.0)
    assert rules.covers_response(response(200, x_more=""))
    assert not rules.covers_response(response(200))
    unasked, _ = applied(x_envoy_retriable_header_names="x-again", x_envoy_retry_on="5xx")
    assert not RetryRules(unasked, request_timeout_s=15.0).covers_response(response(200, x_again=""))


@pytest.mark.parametrize(
    ("value", "request_s"),
    [("250", 0.25), ("0", 0.0), ("abc", 15.0), ("-5", 15.0), ("1e3", 15.0), ("9" * 19, 4294967.295)],
)
def test_request_timeout(value: str, request_s: float) -> None:
    policy, timeouts = applied(x_envoy_upstream_rq_timeout_ms=value)
    assert (policy, timeouts) == (NO_POLICY, attrs.evolve(TIMEOUTS, request_s=request_s))


def test_per_try_timeout_counts_against_the_requests_own_timeout() -> None:
    policy, timeouts = applied(
        POLICY, x_envoy_upstream_rq_timeout_ms="1000", x_envoy_upstream_rq_per_try_timeout_ms="300"
    )
    assert RetryRules(policy, request_timeout_s=timeouts.request_s).per_try_timeout_s == 0.3
    policy, timeouts = applied(POLICY, x_envoy_upstream_rq_timeout_ms="1000")
    assert RetryRules(policy, request_timeout_s=timeouts.request_s).per_try_timeout_s == 0.0  # 2 s are too many


@pytest.mark.parametrize(("value", "hedges"), [("true", True), ("false", False), ("True", None), ("1", None)])
def test_hedging_is_switched_by_exact_words(value: str, hedges: bool | None) -> None:
    for before in (False, True):
        policy, _ = applied(
            attrs.evolve(POLICY, hedge_on_per_try_timeout=before), x_envoy_hedge_on_per_try_timeout=value
        )
        assert policy.hedge_on_per_try_timeout is (before if hedges is None else hedges)


def test_methods_budget_and_request_headers_of_the_policy_stay_in_force() -> None:
    guarded = attrs.evolve(
        POLICY, methods=("GET",), request_headers=(HeaderMatch(name="x-retry", value="1"),), budget=None
    )
    policy, _ = applied(guarded, x_envoy_retry_on="5xx", x_envoy_max_retries="9")
    rules = RetryRules(policy, request_timeout_s=15.0)
    assert not rules.applies_to("POST", request())
    assert policy.budget is None
    assert rules.covers_failure(FailureKind.PER_TRY_TIMEOUT, request_sent=True)


def test_long_lists_are_cut() -> None:
    names = ",".join(f"x-{number}" for number in range(10_000))
    policy, _ = applied(x_envoy_retriable_header_names=names, x_envoy_retry_on="retriable-headers")
    assert len(policy.response_headers) == 32


VALUES = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([b"5xx", b"reset", b"retriable-headers", b"unavailable", b"1", b"503", b"true", b" ", b"x-a"])
    ).map(b",".join),
)


FIELDS = st.dictionaries(st.sampled_from(sorted(CONTROL_NAMES)), VALUES)


def check_fields(fields: dict[bytes, bytes], policy: RetryPolicy) -> None:
    control = ControlHeaders.read(Head(fields=fields))
    if control is None:
        return
    asked, timeouts = control.apply(policy, TIMEOUTS)
    rules = RetryRules(asked, request_timeout_s=timeouts.request_s)
    assert 0 <= asked.retries_max < 2**32
    assert 0.0 <= rules.per_try_timeout_s < 2**32 and 0.0 <= timeouts.request_s < 2**32
    assert set(policy.conditions) <= set(asked.conditions)
    assert hash(control) == hash(attrs.evolve(control))
    rules.covers_response(response(503, x_a="1"))


@settings(max_examples=100, deadline=None)
@given(FIELDS, st.sampled_from([NO_POLICY, POLICY]))
def test_no_control_header_breaks_anything(fields: dict[bytes, bytes], policy: RetryPolicy) -> None:
    check_fields(fields, policy)


def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers read by int() alone: ValueError at the first value that is none."""
    monkeypatch.setattr(
        "mesh.policy.control_headers.unsigned", lambda value, most=0: None if value is None else int(value)
    )

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(FIELDS)
    def check(fields: dict[bytes, bytes]) -> None:
        check_fields(fields, POLICY)

    with pytest.raises(ValueError, match="invalid literal"):
        check()


class Questioned:
    """A head without fields that remembers which names it was asked for."""

    def __init__(self) -> None:
        self.asked: set[bytes] = set()

    def header(self, name_lower: bytes) -> bytes | None:
        self.asked.add(name_lower)
        return None


def test_whatever_is_read_is_not_sent_on() -> None:
    """Who is not trusted loses all these names, so that nothing here is ever read for them, nor by the next hop."""
    head = Questioned()
    assert ControlHeaders.read(head) is None
    assert head.asked and head.asked <= CONTROL_NAMES
    assert b"x-envoy-expected-rq-timeout-ms" in CONTROL_NAMES
    assert all(name.startswith(b"x-envoy-") for name in CONTROL_NAMES)
