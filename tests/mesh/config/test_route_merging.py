"""Merging route rules by their matches, and the order in which they are tried. `v` tells who wrote what."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.matching import Item, in_order, items_in_order
from mesh.config.routes import in_evaluation_order, merged_rules
from mesh.resources.loading import load_resource

API = {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}}


def prefix(path: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": path}, **more}


def rule(who: str, *matches: dict[str, Any], filters: bool = False) -> dict[str, Any]:
    default: dict[str, Any] = {"backendRefs": [{"kind": "MeshService", "labels": {"v": who}, "port": 80}]}
    if filters:
        default = {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": [who]}}]}
    return {"matches": list(matches), "default": default}


def items(**rules_by_policy: list[dict[str, Any]]) -> tuple[Item, ...]:
    policies = [
        load_resource(
            {"type": "MeshHTTPRoute", "name": name, "spec": {"to": [{"targetRef": API, "rules": rules}]}}, file="t"
        )
        for name, rules in rules_by_policy.items()
    ]
    return items_in_order(in_order(policies))


def written(found: tuple[Item, ...]) -> list[tuple[str, str]]:
    """Return path and writer of each merged rule, in order."""
    return [
        (rule.matches[0]["path"]["value"], rule.default["backendRefs"][0]["labels"]["v"])
        for rule in merged_rules(found)
    ]


def test_the_first_policy_by_name_wins_and_its_rules_come_first() -> None:
    found = items(
        a=[rule("a1", prefix("/x")), rule("a2", prefix("/both"))],
        b=[rule("b1", prefix("/y")), rule("b2", prefix("/both"))],
    )
    assert written(found) == [("/x", "a1"), ("/both", "a2"), ("/y", "b1")]


def test_within_a_policy_the_first_of_equal_rules_wins_and_keeps_its_place() -> None:
    found = items(a=[rule("first", prefix("/x")), rule("other", prefix("/y")), rule("second", prefix("/x"))])
    assert written(found) == [("/x", "first"), ("/y", "other")]


def test_rules_with_equal_matches_merge_their_parts() -> None:
    found = items(a=[rule("a", prefix("/x"), filters=True)], b=[rule("b", prefix("/x"))])
    (merged,) = merged_rules(found)
    assert set(merged.default) == {"filters", "backendRefs"}
    assert [item.policy.name for item in merged.items] == ["b", "a"]
    assert merged.route.name == "a"


def test_matches_are_equal_as_a_whole_only() -> None:
    method = prefix("/x", method="GET")
    found = items(
        a=[rule("a", prefix("/x"), method), rule("b", method, prefix("/x")), rule("c", prefix("/x")), rule("d", method)]
    )
    assert len(merged_rules(found)) == 4


def test_a_tcp_route_has_one_rule() -> None:
    def route(name: str) -> dict[str, Any]:
        refs = [{"kind": "MeshService", "labels": {"v": name}, "port": 80}]
        spec = {"to": [{"targetRef": API, "rules": [{"default": {"backendRefs": refs}}]}]}
        return {"type": "MeshTCPRoute", "name": name, "spec": spec}

    policies = in_order([load_resource(route(name), file="t") for name in "ab"])
    (merged,) = merged_rules(items_in_order(policies))
    assert merged.matches == ()
    assert merged.default["backendRefs"][0]["labels"] == {"v": "a"}
    assert [choice.match for choice in in_evaluation_order([merged])] == [{}]


PRECEDENCE = [
    prefix("/a", "Exact", method="GET"),
    prefix("/longer", "Exact"),  # Of exact paths the length does not count.
    prefix("/longer/prefix"),
    prefix("/longer", method="GET", headers=[{"name": "a", "value": "1"}]),
    prefix("/longer", method="GET", queryParams=[{"type": "Exact", "name": "q", "value": "1"}]),
    prefix("/longer", headers=[{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]),
    prefix("/longer", headers=[{"name": "a", "value": "1"}]),
    prefix("/longer", queryParams=[{"type": "Exact", "name": "q", "value": "1"}]),
    prefix("/longer"),
    prefix("/"),
    prefix("/longer.*", "RegularExpression"),
    prefix("/.*", "RegularExpression"),
    {"method": "GET"},
    {"headers": [{"name": "a", "value": "1"}]},
]


@given(st.permutations(range(len(PRECEDENCE))))
@settings(max_examples=60, deadline=None)
def test_the_most_specific_match_is_tried_first(order: list[int]) -> None:
    found = items(a=[rule(str(number), PRECEDENCE[number]) for number in order])
    tried = [
        choice.rule.default["backendRefs"][0]["labels"]["v"] for choice in in_evaluation_order(merged_rules(found))
    ]
    assert tried == [str(number) for number in range(len(PRECEDENCE))]


def test_of_equally_specific_matches_the_earlier_rule_is_tried_first() -> None:
    found = items(a=[rule("1", prefix("/x"), prefix("/b")), rule("2", prefix("/a"))], b=[rule("3", prefix("/c"))])
    paths = [choice.match["path"]["value"] for choice in in_evaluation_order(merged_rules(found))]
    assert paths == ["/x", "/b", "/a", "/c"]
