"""Which endpoints are near a caller, and when its traffic leaves its zone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.locality import Place, affinity_keys, overprovisioning_factor, placed
from mesh.config.snapshot import Endpoint
from mesh.model.names import Address


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


def endpoint(name: str, zone: str = "east", **tags: str) -> Endpoint:
    address = Address(f"10.0.0.{name[-1]}", 80)
    return Endpoint(name=name, address=address, zone=zone, tags=tuple(sorted(tags.items())))


HERE = (endpoint("a-1", rack="r1", dc="d1"), endpoint("a-2", rack="r2", dc="d1"), endpoint("a-3", rack="r3", dc="d2"))
THERE = (endpoint("b-4", "west"), endpoint("b-5", "north"))
ME = Place(zone="east", labels=(("dc", "d1"), ("rack", "r1")))


def shares(endpoints: tuple[Endpoint, ...]) -> dict[str, tuple[int, str, int]]:
    return {each.name: (each.priority, each.locality, each.locality_weight) for each in endpoints}


def failover(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"localityAwareness": {"crossZone": {"failover": rules}}}


def test_the_own_zone_comes_first_and_others_stand_by() -> None:
    assert shares(placed((*HERE, *THERE), ME, {}, spans_zones=True)) == {
        "a-1": (0, "", 0),
        "a-2": (0, "", 0),
        "a-3": (0, "", 0),
        "b-4": (1, "west", 0),
        "b-5": (1, "north", 0),
    }


def test_where_zones_are_not_told_apart_all_are_alike() -> None:
    strategy = {"localityAwareness": {"disabled": True}}
    assert {each.priority for each in placed((*HERE, *THERE), ME, strategy, spans_zones=True)} == {0}
    assert {each.priority for each in placed((*HERE, *THERE), ME, {"loadBalancer": {"type": "Random"}})} == {0}
    assert {each.priority for each in placed((*HERE, *THERE), ME, {"localityAwareness": {}})} == {0, 1}


def test_affinity_weighs_endpoints_by_what_they_share_with_the_caller() -> None:
    tags = {"localZone": {"affinityTags": ({"key": "rack"}, {"key": "dc"})}}
    found = shares(placed(HERE, ME, {"localityAwareness": tags}))
    assert found == {"a-1": (0, "rack=r1", 90), "a-2": (0, "dc=d1", 9), "a-3": (0, "", 1)}
    tags = {"localZone": {"affinityTags": ({"key": "rack", "weight": 5}, {"key": "dc", "weight": 4})}}
    assert shares(placed(HERE, ME, {"localityAwareness": tags}))["a-1"] == (0, "rack=r1", 5)
    stranger = Place(zone="east")
    assert {each.locality_weight for each in placed(HERE, stranger, {"localityAwareness": tags})} == {1}


def test_failover_goes_by_its_rules_in_order_and_leaves_out_other_zones() -> None:
    only = failover({"to": {"type": "Only", "zones": ("north",)}})
    assert shares(placed(THERE, ME, only)) == {"b-5": (1, "north", 0)}
    both = failover({"to": {"type": "Only", "zones": ("north",)}}, {"to": {"type": "Any"}})
    assert shares(placed(THERE, ME, both)) == {"b-4": (2, "west", 0), "b-5": (1, "north", 0)}
    apart = failover({"to": {"type": "AnyExcept", "zones": ("west",)}})
    assert [each.name for each in placed(THERE, ME, apart)] == ["b-5"]
    assert placed(THERE, ME, failover({"to": {"type": "None"}})) == ()
    elsewhere = failover({"from": {"zones": ("south",)}, "to": {"type": "Any"}})
    assert placed(THERE, ME, elsewhere) == ()


def test_only_the_tags_that_are_asked_for_go_on_to_the_proxy() -> None:
    assert placed(HERE[:1], ME, {}, kept_tags=frozenset({"rack"}))[0].tags == (("rack", "r1"),)
    assert placed(HERE[:1], Place(), {})[0].tags == ()


def test_callers_are_told_apart_only_by_labels_that_a_strategy_asks_for() -> None:
    strategies = ({"localityAwareness": {"localZone": {"affinityTags": ({"key": "rack"},)}}}, {})
    assert affinity_keys(strategies) == {"rack"}
