"""Parts of a run."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.checks.intervals import windows
from sim.checks.measurements import quantile


def test_windows_cover_an_interval_to_its_end():
    found = windows([(10.0, 50.0), (60.0, 65.0)], 12.0)
    assert found[0] == (10.0, 22.0)
    assert (38.0, 50.0) in found
    assert found[-1] == (60.0, 65.0)
    assert all(any(a <= t <= b for a, b in found) for t in range(10, 51))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
@settings(max_examples=100, deadline=None)
def test_quantile_is_the_least_value_that_so_many_do_not_exceed(values, share):
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert found in ordered
    assert sum(v <= found for v in ordered) >= share * len(ordered) - 1e-6
    assert sum(v < found for v in ordered) < share * len(ordered) + 1e-6
