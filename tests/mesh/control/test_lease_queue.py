"""The first lease to end, against a model that looks at all of them. Planted: entries that are never put right."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.control.lease_queue import LeaseQueue
from mesh.model.names import ProxyId

PROXIES = tuple(ProxyId("retail", f"p{number}") for number in range(4))
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PROXIES), st.sampled_from([*map(float, range(12)), math.inf])),
    st.tuples(st.just("remove"), st.sampled_from(PROXIES), st.just(0.0)),
    st.tuples(st.just("take"), st.just(PROXIES[0]), st.sampled_from([*map(float, range(12))])),
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=100, deadline=None)
def test_first_is_the_least_of_all(steps: list[tuple[str, ProxyId, float]]) -> None:
    queue, model = LeaseQueue(), dict[ProxyId, float]()
    for verb, proxy, instant in steps:
        if verb == "put":
            queue.put(proxy, instant)
            model[proxy] = instant
        elif verb == "remove":
            queue.remove(proxy)
            model.pop(proxy, None)
        else:
            due = sorted(found for found, until in model.items() if until <= instant)
            assert sorted(queue.take_until(instant)) == due
            for found in due:
                del model[found]
        assert queue.first() == min(model.values(), default=math.inf)


@pytest.mark.parametrize("extensions", [10, 1000])
def test_extensions_leave_nothing_behind(extensions: int) -> None:
    queue = LeaseQueue()
    for number in range(extensions):
        queue.put(PROXIES[number % 4], float(number))
    assert queue.first() == extensions - 4
    assert len(queue._heap) <= 8
