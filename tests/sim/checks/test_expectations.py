"""Judging `expect`."""

import pytest

from sim.checks.wording import format_moment
from sim.workload.observations import Arrival


def expect(text, more=""):
    return f"{{name: c, expect: {text}{more}}}"


def test_quantile_is_judged_and_shown(case):
    verdict = case(expect("p99(buy) < 60ms")).journeys().verdict()
    assert (verdict.ok, verdict.value, verdict.detail) == (True, "50ms", "p99(buy) < 60ms")


def test_failing_check_says_when_it_first_broke_and_what_was_near(case):
    c = case(expect("max(buy) < 60ms")).journeys(latency_s=lambda s: 2.0 if 45 <= s < 46 else 0.05)
    verdict = c.verdict()
    assert not verdict.ok
    assert verdict.value == "2s"
    assert verdict.detail.startswith("max(buy) < 60ms; first broken at 4")
    assert verdict.detail.endswith("(partition a|b)")


def test_warm_up_is_not_judged(case):
    assert case(expect("success(buy) >= 100%")).journeys(ok=lambda s: s >= 10).verdict().ok


def test_outside_faults_leaves_out_what_was_under_way_when_one_began(case):
    check = expect("max(buy) < 1s", ", when: outside faults")
    # Begun before the fault, ended in it.
    assert case(check).journeys(latency_s=lambda s: 3.0 if 39.5 <= s < 40 else 0.05).verdict().ok
    assert case(check).journeys(ok=lambda s: True, latency_s=lambda s: 3.0 if 40 <= s < 50 else 0.05).verdict().ok
    assert not case(check).journeys(latency_s=lambda s: 3.0 if 51 <= s < 52 else 0.05).verdict().ok


def test_grace_prolongs_the_fault(case):
    slow = {"latency_s": lambda s: 3.0 if 51 <= s < 52 else 0.05}
    assert case(expect("max(buy) < 1s", ", when: outside faults, grace: 5s")).journeys(**slow).verdict().ok


@pytest.mark.parametrize("word", ["split", "partition"])
def test_during_looks_at_the_fault_alone(case, word):
    check = expect("success(buy) >= 50%", f", when: during {word}")
    assert case(check).journeys(ok=lambda s: 40 <= s < 50).verdict().ok
    verdict = case(check).journeys(ok=lambda s: not 40 <= s < 50).verdict()
    assert (verdict.ok, verdict.value) == (False, "0.00%")


def test_worst_window_decides(case):
    burst = {"ok": lambda s: not 70 <= s < 73}
    assert case(expect("success(buy) >= 95%")).journeys(**burst).verdict().ok
    verdict = case(expect("success(buy) >= 95%", ", window: 30s")).journeys(**burst).verdict()
    assert not verdict.ok
    assert verdict.value == "90.00%"
    assert "first broken at 1m10s (scale web)" in verdict.detail


def test_requests_and_all_journeys_are_subjects(case):
    assert case(expect("success(GET web/) == 100%")).journeys().verdict().ok
    assert case(expect("success(*) == 100%")).journeys().verdict().ok
    assert case(expect("failures(u.buy) == 0")).journeys().verdict().ok


def test_rate_counts_what_succeeded(case):
    verdict = case(expect("rate(buy) >= 4.9/s")).journeys(ok=lambda s: int(s * 10) % 2 == 0).verdict()
    assert verdict.ok
    assert verdict.value.endswith("/s")


def test_retries_are_counted_against_first_tries(case):
    rows = [(20.0 + n, 1) for n in range(8)] + [(30.0, 3), (31.0, 2)]
    verdict = case(expect("retries(*) / first-tries(*) <= 20%")).tries(*rows).verdict()
    assert (verdict.ok, verdict.value) == (False, "30.00%")
    assert case(expect("retries(web) <= 3")).tries(*rows).verdict().ok


def test_counts_are_compared_at_the_end(case):
    c = case(expect("count(web.paid) == 3", ", when: at end"))
    c.evidence.services.events["web.paid"] = 2
    verdict = c.verdict()
    assert (verdict.ok, verdict.value, verdict.detail) == (False, "2", "count(web.paid) == 3")


def test_nothing_to_judge_is_no_success(case):
    verdict = case(expect("p99(buy) < 1s")).verdict()
    assert (verdict.ok, verdict.value) == (False, "nothing")


def test_fault_that_did_not_come_is_not_judged(case):
    c = case(expect("p99(buy) < 1s", ", when: during split")).journeys()
    c.evidence.occurrences.clear()
    assert (c.verdict().ok, c.verdict().value) == (True, "not judged")


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12.4s"), (303.0, "5m03s"), (65.5, "1m05.5s"), (0.0, "0s")])
def test_moments_read_well(seconds, text):
    assert format_moment(seconds) == text


def arrivals(c, **moments_by_instance):
    for instance, moments in moments_by_instance.items():
        name = instance.replace("_", "-")
        c.evidence.services.arrivals[Arrival("web", name, "b" if name == "web-2" else "a", "GET /")] = moments
    return c


@pytest.mark.parametrize(
    ("subject", "count"), [("web", 5), ("web-1", 3), ("web GET /", 5), ("web POST /pay", 0), ("web in b", 2)]
)
def test_what_reached_applications_is_counted_by_place(case, subject, count):
    c = case(expect(f"served({subject}) == {count}"))
    assert arrivals(c, web_1=[20.0, 21.0, 22.0], web_2=[30.0, 31.0]).verdict().ok


def test_moments_between_two_others_are_judged_from_the_beginning_of_the_run(case):
    c = case(expect("served(web) == 2", ", when: between 30s and 40s"))
    c.evidence.origin_s = 5.0
    verdict = arrivals(c, web_1=[34.9, 35.0, 44.9, 45.0]).verdict()
    assert (verdict.ok, verdict.value) == (True, "2")


def test_answers_flags_and_shadow_denials_are_counted(case):
    c = case(expect("answers(5xx) + 10 * answers(404) + 100 * flagged(UO) + 1000 * shadow-denied(web) == 1112"))
    proxies = c.evidence.proxies
    proxies.answers = {503: [20.0], 504: [21.0, 5.0], 404: [20.0], 200: [20.0]}
    proxies.flags, proxies.shadow_denials = {"UO": [30.0]}, {"web": [40.0], "db": [41.0]}
    verdict = c.verdict()
    assert (verdict.ok, verdict.value) == (True, "1112")


def test_shares_are_shown_as_percentages_and_counts_plainly(case):
    ratio = case(expect("served(web-1 GET /) / served(web) > 10%"))
    assert arrivals(ratio, web_1=[20.0], web_2=[20.0]).verdict().value == "50.00%"
    assert arrivals(case(expect("served(web-1 GET /) == 1")), web_1=[20.0]).verdict().value == "1"
