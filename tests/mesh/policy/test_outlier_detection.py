"""Outlier detection: each detector and each rule of ejection in a table."""

import random
from typing import Any

import pytest

from mesh.policy.failure import FailureKind
from mesh.policy.outlier_detection import (
    Detector,
    HostRecord,
    OutlierDetection,
    OutlierDetector,
    success_rate_threshold,
)

RANDOM = random.Random(1)
ALL = 100


def detector_of(hosts: int = 2, **fields: Any) -> OutlierDetector:
    detector = OutlierDetector(OutlierDetection(**{"ejection_percent_max": ALL, **fields}))
    detector.replace_hosts(f"u{index}" for index in range(hosts))
    return detector


def respond(detector: OutlierDetector, name: str, *statuses: int, now: float = 0.0) -> list[bool]:
    host = detector.host_by_name[name]
    return [detector.on_response(host, status, now, RANDOM) for status in statuses]


def names(hosts: tuple[HostRecord, ...]) -> list[str]:
    return [host.name for host in hosts]


@pytest.mark.parametrize(
    ("statuses", "ejected"),
    [
        ((500, 503, 500), [False, False, True]),
        ((500, 500, 404, 500, 500, 500), [False, False, False, False, False, True]),
        ((600, 600, 600), [False, False, False]),  # not a server error
        ((500, 500, 500, 500, 500, 500), [False, False, True, False, False, False]),
    ],
)
def test_consecutive_server_errors_eject(statuses: tuple[int, ...], ejected: list[bool]) -> None:
    detector = detector_of(consecutive_5xx=3)
    assert respond(detector, "u0", *statuses) == ejected
    assert detector.host_by_name["u0"].ejected is any(ejected)


@pytest.mark.parametrize(
    ("statuses", "ejected"),
    [((502, 503, 504), True), ((502, 500, 503, 504), False), ((502, 503, 200, 504), False), ((500, 500, 500), False)],
)
def test_consecutive_gateway_failures_eject(statuses: tuple[int, ...], ejected: bool) -> None:
    detector = detector_of(consecutive_gateway_failures=3)
    respond(detector, "u0", *statuses)
    assert detector.host_by_name["u0"].ejected is ejected
    assert detector.enforced[Detector.CONSECUTIVE_GATEWAY_FAILURE] == int(ejected)


def test_detectors_are_off_unless_configured() -> None:
    detector = detector_of(hosts=10)
    for name in detector.host_by_name:
        respond(detector, name, *[503] * 200)
        for kind in FailureKind:
            detector.on_local_failure(detector.host_by_name[name], kind, 0.0, RANDOM)
    assert detector.tick(10.0, RANDOM).ejected == ()
    assert detector.ejected_count == 0


@pytest.mark.parametrize(
    ("kind", "counts_as"),
    [
        (FailureKind.CONNECT_FAILURE, "gateway"),
        (FailureKind.CONNECT_TIMEOUT, "gateway"),
        (FailureKind.CONNECTION_TERMINATION, "gateway"),
        (FailureKind.REMOTE_RESET, "gateway"),
        (FailureKind.REFUSED_STREAM, "gateway"),
        (FailureKind.PROTOCOL_ERROR, "gateway"),
        (FailureKind.PER_TRY_TIMEOUT, "gateway"),
        (FailureKind.REQUEST_TIMEOUT, "gateway"),
        (FailureKind.OVERFLOW, "nothing"),
    ],
)
def test_local_failures_count_as_gateway_failures_unless_split(kind: FailureKind, counts_as: str) -> None:
    detector = detector_of(consecutive_5xx=9, consecutive_gateway_failures=9, consecutive_local_origin_failures=9)
    host = detector.host_by_name["u0"]
    detector.on_local_failure(host, kind, 0.0, RANDOM)
    expected = int(counts_as == "gateway")
    assert (host.consecutive_gateway_failures, host.consecutive_5xx, host.counts.total) == (expected,) * 3
    assert host.consecutive_local_origin_failures == 0


def test_split_local_failures_have_a_counter_of_their_own() -> None:
    detector = detector_of(
        split_local_origin_errors=True,
        consecutive_5xx=1,
        consecutive_gateway_failures=1,
        consecutive_local_origin_failures=2,
    )
    host = detector.host_by_name["u0"]
    assert not detector.on_local_failure(host, FailureKind.CONNECT_FAILURE, 0.0, RANDOM)
    assert not detector.on_response(host, 404, 0.0, RANDOM)
    assert not detector.on_local_failure(host, FailureKind.CONNECT_TIMEOUT, 0.0, RANDOM)
    assert detector.on_local_failure(host, FailureKind.CONNECT_FAILURE, 0.0, RANDOM)
    assert host.last_detector is Detector.CONSECUTIVE_LOCAL_ORIGIN_FAILURE


def test_split_a_connect_before_a_reset_or_timeout_counts_as_a_success() -> None:
    """Envoy's onPoolReady reports each connect, so that what comes after it begins a new row."""
    detector = detector_of(split_local_origin_errors=True, consecutive_local_origin_failures=2)
    host = detector.host_by_name["u0"]
    for kind in (FailureKind.REMOTE_RESET, FailureKind.PER_TRY_TIMEOUT, FailureKind.REQUEST_TIMEOUT):
        assert not detector.on_local_failure(host, kind, 0.0, RANDOM)
    assert (host.local_origin_counts.total, host.local_origin_counts.succeeded) == (6, 3)
    assert detector.on_local_failure(host, FailureKind.CONNECT_FAILURE, 0.0, RANDOM)  # the second in a row


def test_connecting_says_nothing_of_http_but_all_of_tcp() -> None:
    detector = detector_of(consecutive_5xx=3)
    host = detector.host_by_name["u0"]
    respond(detector, "u0", 503, 503)
    detector.on_connected(host)
    assert host.consecutive_5xx == 2
    detector.on_connected(host, final=True)
    assert host.consecutive_5xx == 0


@pytest.mark.parametrize(
    ("hosts", "percent", "always_one", "ejectable"),
    [
        (3, 10, False, 0),  # recorded from Envoy: overflows, nothing ejected
        (9, 10, False, 0),
        (10, 10, False, 1),
        (3, 10, True, 1),
        (4, 50, False, 2),
        (3, 50, False, 1),
        (2, 50, False, 1),
        (3, 100, False, 3),
        (3, 250, False, 3),
        (5, 0, False, 0),
    ],
)
def test_share_of_ejected_hosts_is_bounded(hosts: int, percent: int, always_one: bool, ejectable: int) -> None:
    detector = detector_of(hosts, consecutive_5xx=1, ejection_percent_max=percent, always_eject_one=always_one)
    for name in detector.host_by_name:
        respond(detector, name, 500)
    assert detector.ejected_count == ejectable
    assert detector.overflows == hosts - ejectable
    assert detector.detected[Detector.CONSECUTIVE_5XX] == hosts


def test_counter_starts_over_after_a_refused_ejection() -> None:
    detector = detector_of(hosts=3, consecutive_5xx=2, ejection_percent_max=10)
    respond(detector, "u0", *[500] * 7)
    assert detector.overflows == 3


def test_host_returns_only_at_a_tick_and_only_when_its_time_is_up() -> None:
    # Planted once and found: `<` instead of `<=`, which returns a tick late.
    detector = detector_of(consecutive_5xx=1, interval_s=10.0, base_ejection_s=30.0)
    respond(detector, "u0", 500, now=0.1)
    assert names(detector.tick(10.1, RANDOM).returned) == []
    assert names(detector.tick(20.1, RANDOM).returned) == []
    assert detector.host_by_name["u0"].ejected
    assert names(detector.tick(30.1, RANDOM).returned) == ["u0"]
    assert detector.ejected_count == 0


def test_rounding_does_not_cost_a_whole_interval() -> None:
    # 0.7 - 0.6 is a little less than 0.1. Planted once and found: no allowance for that.
    detector = detector_of(consecutive_5xx=1, interval_s=0.1, base_ejection_s=0.1)
    host = detector.host_by_name["u0"]
    respond(detector, "u0", 500, now=0.6)
    assert names(detector.tick(0.7, RANDOM).returned) == ["u0"]
    host.returned_at = 0.6
    detector.tick(0.7, RANDOM)
    assert host.backoff == 0


def test_return_clears_the_runs_of_failures() -> None:
    detector = detector_of(
        consecutive_5xx=3, consecutive_gateway_failures=4, base_ejection_s=1.0, consecutive_local_origin_failures=5
    )
    host = detector.host_by_name["u0"]
    respond(detector, "u0", 503, 503, 503)
    assert host.ejected
    assert host.consecutive_gateway_failures == 3
    detector.tick(10.0, RANDOM)
    assert (host.consecutive_5xx, host.consecutive_gateway_failures) == (0, 0)


def test_answers_still_under_way_do_not_eject_twice() -> None:
    detector = detector_of(consecutive_5xx=2)
    respond(detector, "u0", *[500] * 9)
    host = detector.host_by_name["u0"]
    assert host.ejections == 1
    assert host.consecutive_5xx == 7  # runs past the threshold, so it will not fire by itself after the return either


def test_ejections_grow_longer_up_to_the_longest_and_shrink_again_in_quiet_intervals() -> None:
    detector = detector_of(consecutive_5xx=1, interval_s=1.0, base_ejection_s=2.0, ejection_s_max=5.0)
    host = detector.host_by_name["u0"]
    now = 0.0
    lasted = []
    for _ in range(5):
        ejected_at = now
        assert respond(detector, "u0", 500, now=now) == [True]
        while host.ejected:
            now += 1.0
            detector.tick(now, RANDOM)
        lasted.append(now - ejected_at)
    assert lasted == [2.0, 4.0, 5.0, 5.0, 5.0]
    # Envoy lets the multiplier run one step past the longest: 2 x 2.0 s and 3 x 2.0 s are below 5 + 2 s, 4 x 2.0 s is not.
    assert host.backoff == 4
    for backoff in (3, 2, 1, 0, 0):
        now += 1.0
        detector.tick(now, RANDOM)
        assert host.backoff == backoff


def test_longest_ejection_is_never_below_the_base() -> None:
    detector = detector_of(consecutive_5xx=1, base_ejection_s=400.0)
    respond(detector, "u0", 500)
    assert detector.tick(399.0, RANDOM).returned == ()
    assert names(detector.tick(400.0, RANDOM).returned) == ["u0"]


def test_jitter_spreads_the_returns() -> None:
    detector = detector_of(hosts=50, consecutive_5xx=1, base_ejection_s=10.0, ejection_jitter_s_max=10.0)
    for name in detector.host_by_name:
        respond(detector, name, 500)
    assert detector.tick(9.9, RANDOM).returned == ()
    halfway = len(detector.tick(15.0, RANDOM).returned)
    assert 10 < halfway < 40
    assert len(detector.tick(20.0, RANDOM).returned) == 50 - halfway


def test_passed_health_check_returns_a_host_early() -> None:
    detector = detector_of(consecutive_5xx=2)
    host = detector.host_by_name["u0"]
    respond(detector, "u0", 500)
    assert not detector.on_health_check_passed(host, 0.0)
    assert host.consecutive_5xx == 1  # a check of a host that is in changes nothing
    respond(detector, "u0", 500)
    assert detector.on_health_check_passed(host, 1.0)
    assert not host.ejected
    assert detector.ejected_count == 0


def test_success_rate_example_of_envoys_source() -> None:
    assert success_rate_threshold([100.0, 100.0, 100.0, 100.0, 50.0], 1.9) == pytest.approx(52.0)


@pytest.mark.parametrize(
    ("volume", "minimum_hosts", "worst_of_100", "ejected"),
    [
        (100, 5, 50, ["u4"]),
        (101, 5, 50, []),  # too few requests per host
        (100, 6, 50, []),  # too few hosts
        (100, 5, 100, []),
    ],
)
def test_success_rate_ejects_whoever_is_far_below_the_mean(
    volume: int, minimum_hosts: int, worst_of_100: int, ejected: list[str]
) -> None:
    detector = detector_of(5, success_rate_minimum_hosts=minimum_hosts, success_rate_request_volume=volume)
    for name in ("u0", "u1", "u2", "u3"):
        respond(detector, name, *[200] * 100)
    respond(detector, "u4", *[200] * worst_of_100, *[500] * (100 - worst_of_100))
    assert names(detector.tick(10.0, RANDOM).ejected) == ejected
    # The interval is closed: nothing of it counts for the next.
    assert detector.tick(20.0, RANDOM).ejected == ()


@pytest.mark.parametrize(("failures_of_100", "ejected"), [(84, False), (85, True), (100, True)])
def test_failure_percentage_ejects_at_its_threshold(failures_of_100: int, ejected: bool) -> None:
    detector = detector_of(
        5, failure_percentage_minimum_hosts=5, failure_percentage_request_volume=100, failure_percentage_threshold=85
    )
    for name in ("u0", "u1", "u2", "u3"):
        respond(detector, name, *[200] * 100)
    respond(detector, "u4", *[200] * (100 - failures_of_100), *[500] * failures_of_100)
    assert bool(detector.tick(10.0, RANDOM).ejected) is ejected
    assert detector.enforced[Detector.FAILURE_PERCENTAGE] == int(ejected)


def test_host_found_by_both_statistical_detectors_is_counted_once() -> None:
    detector = detector_of(
        5,
        success_rate_minimum_hosts=5,
        success_rate_request_volume=10,
        failure_percentage_minimum_hosts=5,
        failure_percentage_request_volume=10,
    )
    for name in ("u0", "u1", "u2", "u3"):
        respond(detector, name, *[200] * 10)
    respond(detector, "u4", *[500] * 10)
    assert names(detector.tick(10.0, RANDOM).ejected) == ["u4"]
    assert detector.ejected_count == 1
    assert detector.host_by_name["u4"].last_detector is Detector.SUCCESS_RATE


def test_ejected_hosts_weigh_in_no_statistics() -> None:
    # Planted once and found: their counts taken along, which makes a third host and drags the mean down.
    detector = detector_of(
        3, consecutive_5xx=10, failure_percentage_minimum_hosts=3, failure_percentage_request_volume=10
    )
    respond(detector, "u0", *[500] * 10)
    respond(detector, "u1", *[500] * 9, 200)
    respond(detector, "u2", *[200] * 10)
    assert detector.host_by_name["u0"].ejected
    assert detector.tick(10.0, RANDOM).ejected == ()


def test_split_local_failures_have_statistics_of_their_own() -> None:
    detector = detector_of(
        3, split_local_origin_errors=True, failure_percentage_minimum_hosts=3, failure_percentage_request_volume=5
    )
    for host in detector.host_by_name.values():
        for _ in range(5):
            if host.name == "u1":
                detector.on_local_failure(host, FailureKind.CONNECT_FAILURE, 0.0, RANDOM)
            else:
                detector.on_connected(host)
                detector.on_response(host, 200, 0.0, RANDOM)
    assert names(detector.tick(10.0, RANDOM).ejected) == ["u1"]
    assert detector.host_by_name["u1"].last_detector is Detector.LOCAL_ORIGIN_FAILURE_PERCENTAGE


def test_hosts_that_stay_keep_their_state_when_the_set_changes() -> None:
    detector = detector_of(hosts=3, consecutive_5xx=2)
    kept, gone = detector.host_by_name["u0"], detector.host_by_name["u1"]
    respond(detector, "u0", 500)
    respond(detector, "u1", 500, 500)
    assert detector.ejected_count == 1
    detector.replace_hosts(["u0", "u2", "u9"])
    assert list(detector.host_by_name) == ["u0", "u2", "u9"]
    assert detector.host_by_name["u0"] is kept
    assert detector.ejected_count == 0
    # What is still under way to a host that is gone is ignored.
    assert not detector.on_response(gone, 500, 0.0, RANDOM)
    assert not detector.on_health_check_passed(gone, 0.0)
    assert detector.ejected_count == 0
    assert detector.on_response(kept, 500, 0.0, RANDOM)


def test_new_configuration_keeps_hosts_and_ejections() -> None:
    detector = detector_of(consecutive_5xx=3, base_ejection_s=30.0)
    respond(detector, "u0", 500, 500, 500)
    respond(detector, "u1", 500)
    detector.replace_config(OutlierDetection(consecutive_5xx=2, base_ejection_s=5.0, ejection_percent_max=ALL))
    assert detector.host_by_name["u0"].ejected
    assert respond(detector, "u1", 500) == [True]
    assert names(detector.tick(10.0, RANDOM).returned) == ["u0", "u1"]
