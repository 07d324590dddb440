"""Walks over call graphs: the longest by the product of factors, with cycles cut."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.lint.topology import Call, CallGraph, Node

NAMES = "abcdef"


def call(caller: str, callee: str) -> Call:
    return Call(caller=Node(caller), callee=Node(callee), port=80)


def test_walk_with_the_greatest_product_is_found() -> None:
    calls = [call("a", "b"), call("b", "c"), call("a", "d"), call("d", "c")]
    factor = {("a", "b"): 3.0, ("b", "c"): 2.0, ("a", "d"): 1.0, ("d", "c"): 5.0}
    graph = CallGraph.of(calls)
    walk = graph.longest(lambda each: factor[each.caller.service, each.callee.service])[Node("a")]
    assert (walk.factor, str(walk)) == (6.0, "a -> b -> c")


def test_calls_that_are_not_repeated_end_no_walk() -> None:
    graph = CallGraph.of([call("a", "b"), call("b", "c")])
    walk = graph.longest(lambda each: 3.0 if each.caller.service == "a" else 1.0)[Node("a")]
    assert str(walk) == "a -> b"


def test_circle_is_cut_and_named() -> None:
    graph = CallGraph.of([call("a", "b"), call("b", "c"), call("c", "a")])
    assert [[node.service for node in cycle] for cycle in graph.cycles] == [["a", "b", "c", "a"]]
    assert graph.longest(lambda _: 2.0)[Node("a")].factor == 4.0


def test_deep_graphs_need_no_recursion() -> None:
    calls = [call(f"{number:05}", f"{number + 1:05}") for number in range(5000)]
    assert len(CallGraph.of(calls).longest(lambda _: 1.001)[Node("00000")].calls) == 5000


@given(st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12))
@settings(max_examples=100, deadline=None)
def test_longest_walk_is_that_of_trying_all(edges: set[tuple[str, str]]) -> None:
    graph = CallGraph.of([call(*edge) for edge in sorted(edges)])
    kept = {(each.caller.service, each.callee.service) for calls in graph.calls_of.values() for each in calls}
    # Nothing but what closes a circle was cut: with the circle's last call put back there is one.
    assert len(kept) == len(edges) - len(graph.cycles)
    walks = graph.longest(lambda each: 2.0 + NAMES.index(each.callee.service))
    for start in NAMES:
        if Node(start) in walks:
            assert math.isclose(walks[Node(start)].factor, _best_of_all(start, kept))


def _best_of_all(start: str, edges: set[tuple[str, str]]) -> float:
    best = 1.0
    for length in range(1, len(NAMES)):
        for path in itertools.permutations([name for name in NAMES if name != start], length):
            steps = list(itertools.pairwise((start, *path)))
            if all(step in edges for step in steps):
                best = max(best, math.prod(2.0 + NAMES.index(callee) for _, callee in steps))
    return best
