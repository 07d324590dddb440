"""Settings merge as JSON merge patches; permissions are joined."""

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.merging import merge, permissions
from mesh.policy.authorization import PeerMatch as Peer
from mesh.policy.authorization import Permissions


@pytest.mark.parametrize(
    ("confs", "merged"),
    [
        ([], {}),
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": 1}, {"a": 2}], {"a": 2}),
        ([{"http": {"x": 1, "y": 1}}, {"http": {"y": 2, "z": 2}}], {"http": {"x": 1, "y": 2, "z": 2}}),
        # Lists are replaced as a whole, and so is what changes its shape. Source: RFC 7396, appendix A.
        ([{"retryOn": ("5xx", "Reset")}, {"retryOn": ("503",)}], {"retryOn": ("503",)}),
        ([{"a": {"b": 1}}, {"a": 2}], {"a": 2}),
        ([{"a": 1}, {"a": {"b": 2}}], {"a": {"b": 2}}),
        # An empty mapping changes nothing, zero and false are values like others.
        ([{"a": {"b": 1}}, {"a": {}}], {"a": {"b": 1}}),
        ([{"a": 1, "c": True}, {"a": 0, "c": False}], {"a": 0, "c": False}),
        ([{"appendMatch": (1, 2)}, {"appendMatch": (3,)}], {"appendMatch": (1, 2, 3)}),
        ([{"appendMatch": [1]}, {"appendMatch": [1, 2]}], {"appendMatch": [1, 1, 2]}),
        ([{"a": {"appendProfiles": (1,)}}, {"a": {"appendProfiles": (2,)}}], {"a": {"appendProfiles": (1, 2)}}),
        ([{"match": [1]}, {"match": [2]}], {"match": [2]}),
        ([{"a": 1}, {"a": 2}, {"a": 3}], {"a": 3}),
    ],
)
def test_merging(confs: list[dict[str, Any]], merged: dict[str, Any]) -> None:
    assert merge(confs) == merged


confs = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(confs, confs)
@settings(max_examples=100, deadline=None)
def test_merging_changes_nothing_that_it_was_given(first: dict[str, Any], second: dict[str, Any]) -> None:
    before = repr((first, second))
    merge([first, second])
    assert repr((first, second)) == before


@given(confs, confs, confs)
@settings(max_examples=100, deadline=None)
def test_merging_step_by_step_is_merging_at_once(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    assert merge([merge([a, b]), c]) == merge([a, b, c])
    assert merge([a, a]) == merge([a])


def test_permissions_are_joined_in_order_and_say_whose_they_are() -> None:
    a, b, c, d = (Peer(spiffe_id=f"spiffe://d/{name}") for name in "abcd")
    rules = [("", {"allow": (a,), "deny": (b,)}), ("p", {"allow": (c,), "allowWithShadowDeny": (d,)})]
    c, d = (attrs.evolve(peer, origin="p") for peer in (c, d))
    assert permissions(rules) == Permissions(deny=(b,), allow_with_shadow_deny=(d,), allow=(a, c))
    assert permissions([]) == Permissions()
