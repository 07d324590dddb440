"""Judging the built-in promises."""

import pytest

from sim.checks.evidence import ConfigChange, InsecureRequest
from sim.checks.invariants import judge_warmup

RECOVERS = "{builtin: recovers, within: 15s}"


def test_prompt_recovery_is_measured_from_the_end_of_the_fault(case):
    verdict = case(RECOVERS).journeys(ok=lambda s: not 40 <= s < 58).verdict()
    assert verdict.ok
    assert float(verdict.value.removesuffix("s")) == pytest.approx(8.0, abs=1.0)


def test_slow_recovery_names_the_fault(case):
    verdict = case("{builtin: recovers, within: 5s}").journeys(ok=lambda s: not 40 <= s < 58).verdict()
    assert not verdict.ok
    assert verdict.detail == "<= 5s; after partition a|b at 50s"


def test_metastable_system_never_recovers(case):
    verdict = case(RECOVERS).journeys(ok=lambda s: s < 40).verdict()
    assert (verdict.ok, verdict.value) == (False, "never")


def test_goodput_is_compared_with_what_it_was_before(case):
    # One journey in five failed before the fault already: that is the baseline, not a failure to recover.
    assert case(RECOVERS).journeys(ok=lambda s: int(s * 10) % 5 != 0).verdict().ok


def test_double_delivery_names_service_and_request(case):
    c = case("{builtin: no-double-delivery, to: web POST /pay}")
    c.evidence.services.executions["web", "POST /pay"] = 3
    c.evidence.services.deliveries.update({("web", "POST /pay", b"r1"): 1, ("web", "POST /pay", b"r2"): 2})
    verdict = c.verdict()
    assert (verdict.ok, verdict.value) == (False, "1 of 3")
    assert verdict.detail.endswith("web POST /pay ran 2 times for r2")
    c.evidence.services.deliveries["web", "POST /pay", b"r2"] = 1
    assert c.verdict().ok


def test_one_plaintext_request_breaks_mtls_everywhere(case):
    c = case("{builtin: mtls-everywhere}")
    assert not c.verdict().ok
    c.evidence.secure_requests = 10
    assert c.verdict().ok
    c.evidence.insecure.append(InsecureRequest(host="web-1", at_s=61.0, what="GET /"))
    verdict = c.verdict()
    assert (verdict.ok, verdict.value) == (False, "1 of 11 without")
    assert "first at 1m01s on web-1 (GET /)" in verdict.detail


def test_slowest_change_decides_convergence(case):
    c = case("{builtin: config-converges, within: 2s}")
    assert c.verdict().value == "not judged"
    c.evidence.config_changes.append(ConfigChange(what="apply x", start_s=20.0, converged_s=21.5))
    assert (c.verdict().ok, c.verdict().value) == (True, "1.5s")
    c.evidence.config_changes.append(ConfigChange(what="scale web", start_s=60.0, converged_s=63.0))
    assert not c.verdict().ok
    c.evidence.config_changes.append(ConfigChange(what="apply y", start_s=90.0, converged_s=None, late=("web-1",)))
    verdict = c.verdict()
    assert verdict.value == "never"
    assert "apply y at 1m30s was not live everywhere (web-1)" in verdict.detail


def test_unhealthy_warm_up_makes_the_run_void(case):
    assert judge_warmup(case(RECOVERS).journeys().evidence) == ()
    (verdict,) = judge_warmup(case(RECOVERS).journeys(ok=lambda s: s > 9).evidence)
    assert (verdict.name, verdict.ok) == ("warm-up", False)
