"""When traffic leaves its zone: below the percentage of healthy endpoints that was written, not at Kuma's steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.locality import overprovisioning_factor


@pytest.mark.parametrize(
    ("percent", "factor"), [(100, 100.0), (50, 200.0), (70, 10000 / 70), (1, 10000.0), (33.3, 10000 / 33.3)]
)
def test_the_factor_is_not_cut_off_before_it_is_scaled(percent: float, factor: float) -> None:
    # Kuma's code gives 100 for everything above 50, 200 above 33, and so on.
    assert overprovisioning_factor(percent) == factor


@given(st.floats(0.1, 100))
@settings(max_examples=50, deadline=None)
def test_all_traffic_stays_while_that_many_are_healthy(percent: float) -> None:
    factor = overprovisioning_factor(percent)
    assert percent * factor / 100 == pytest.approx(100)
    assert percent * 0.99 * factor / 100 < 100


@pytest.mark.parametrize("percent", [0, -1, 100.1])
def test_what_is_no_share_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 100"):
        overprovisioning_factor(percent)
