"""Lines of several processes come to checks in the order of what they tell."""

from sim.local.hearing import Logged, in_order


def pushed(at: float, nonce: int) -> Logged:
    return Logged(at, "control-plane", "configuration.pushed", "info", {"proxy": "shop-1", "nonce": nonce})


def accepted(at: float, nonce: int) -> Logged:
    return Logged(at, "shop-1", "configuration.accepted", "info", {"nonce": nonce})


def test_a_push_that_was_logged_late_comes_before_its_answer_and_after_the_answers_before() -> None:
    lines = [accepted(1.0, 1), accepted(2.0, 2), pushed(1.1, 1), pushed(2.1, 2)]
    assert in_order(lines) == [pushed(1.1, 1), accepted(1.0, 1), pushed(2.1, 2), accepted(2.0, 2)]


def test_lines_in_their_own_order_stay_so() -> None:
    lines = [pushed(1.0, 1), accepted(1.2, 1), pushed(1.3, 2), pushed(1.4, 3), accepted(1.5, 2), accepted(1.6, 3)]
    assert in_order(lines[::-1]) == lines
