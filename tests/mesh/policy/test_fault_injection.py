"""Faults: which are drawn, how several of them act together, that chances hold, and that 0 and 100 are exact."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.authorization import PeerMatch
from mesh.policy.fault_injection import Abort, Delay, DrawnFaults, Fault, FaultInjector, ResponseBandwidth

WEB, CART, NOBODY = "spiffe://mesh/web", "spiffe://mesh/cart", ""
EVERYBODY = PeerMatch()
OF_WEB = PeerMatch(spiffe_id="spiffe://mesh/web")


def abort(status: int = 503, percent: float = 100.0, match: PeerMatch = EVERYBODY) -> Fault:
    return Fault(match=match, abort=Abort(status=status, percent=percent))


def delay(delay_s: float = 1.0, percent: float = 100.0) -> Fault:
    return Fault(delay=Delay(delay_s=delay_s, percent=percent))


def slow(bytes_per_s: float, percent: float = 100.0) -> Fault:
    return Fault(response_bandwidth=ResponseBandwidth(bytes_per_s=bytes_per_s, percent=percent))


def draw(*faults: Fault, peer: str = WEB, seed: int = 1) -> DrawnFaults | None:
    return FaultInjector(faults).draw(peer, "", random.Random(seed))


@pytest.mark.parametrize(
    ("faults", "drawn"),
    [
        ((), None),
        ((abort(503),), DrawnFaults(abort_status=503)),
        ((delay(2.0),), DrawnFaults(delay_s=2.0)),
        ((slow(1000.0),), DrawnFaults(bytes_per_s=1000.0)),
        ((delay(2.0), abort(418)), DrawnFaults(delay_s=2.0, abort_status=418)),
        ((abort(418), delay(2.0)), DrawnFaults(abort_status=418)),  # the abort comes before the other's delay
        ((delay(2.0), delay(3.0)), DrawnFaults(delay_s=5.0)),
        ((abort(500), abort(503)), DrawnFaults(abort_status=500)),
        ((slow(1000.0), slow(10.0), slow(50.0)), DrawnFaults(bytes_per_s=10.0)),
        ((delay(0.0),), None),
        ((abort(503, percent=0.0), delay(1.0, percent=0.0), slow(1.0, percent=0.0)), None),
        ((abort(503, match=OF_WEB),), DrawnFaults(abort_status=503)),
    ],
)
def test_entries_act_one_behind_the_other(faults: tuple[Fault, ...], drawn: DrawnFaults | None) -> None:
    assert draw(*faults) == drawn


def test_an_entry_that_waits_and_aborts_does_both_in_this_order() -> None:
    both = Fault(delay=Delay(delay_s=1.0, percent=100.0), abort=Abort(status=500, percent=100.0))
    assert draw(both, delay(9.0)) == DrawnFaults(delay_s=1.0, abort_status=500)


def test_others_than_the_matching_caller_get_nothing() -> None:
    assert draw(abort(match=OF_WEB), peer=CART) is None
    assert draw(abort(match=OF_WEB), peer=NOBODY) is None


def test_what_was_injected_is_counted_and_goes_on_with_the_next_configuration() -> None:
    injector = FaultInjector((delay(1.0), slow(5.0), abort(500)))
    injector.draw(WEB, "", random.Random(1))
    later = FaultInjector((delay(1.0),), injector)
    later.draw(WEB, "", random.Random(1))
    counts = later.counts
    assert (counts.delays_injected, counts.aborts_injected, counts.response_rl_injected) == (2, 1, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 100.0]))
def test_never_and_always_are_exact(seed: int, percent: float) -> None:
    chance, injector = random.Random(seed), FaultInjector((abort(503, percent),))
    drawn = [injector.draw(WEB, "", chance) is not None for _ in range(300)]
    assert drawn == [percent == 100.0] * 300


class Edge:
    """Chance at its ends: `random.random` is at least 0 and below 1."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("value", [0.0, 0.9999999999999999])
def test_the_ends_of_chance_are_no_exceptions(value: float) -> None:
    # Planted once and found: `<=` in `_happens`, which injected at 0 percent when 0.0 was drawn.
    assert FaultInjector((abort(503, 0.0),)).draw(WEB, "", Edge(value)) is None  # type: ignore[arg-type]
    assert FaultInjector((abort(503, 100.0),)).draw(WEB, "", Edge(value)) is not None  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 99.5))
def test_chances_converge_and_are_independent(seed: int, percent: float) -> None:
    chance, rounds, share = random.Random(seed), 4000, percent / 100.0
    injector = FaultInjector((delay(1.0, percent), abort(503, percent)))
    drawn = [injector.draw(WEB, "", chance) for _ in range(rounds)]
    delayed = [found is not None and found.delay_s > 0 for found in drawn]
    aborted = [found is not None and found.abort_status > 0 for found in drawn]
    both = [wait and stop for wait, stop in zip(delayed, aborted, strict=True)]
    for happened, expected in ((delayed, share), (aborted, share), (both, share * share)):
        deviation = (expected * (1 - expected) / rounds) ** 0.5
        assert abs(sum(happened) / rounds - expected) <= 6 * deviation
