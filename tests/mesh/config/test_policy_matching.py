"""Which policy applies, and which wins: each rule of the order is one test. `idle` tells who won."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mesh.config.matching import Destination, in_order, items_for, items_in_order, rules_for, selects
from mesh.config.merging import merge
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

MESH = {"kind": "Mesh"}
ALL_PROXIES = {"kind": "Dataplane"}


def dataplane(name: str = "web-1", **labels: str) -> Resource:
    inbound = [{"port": 8080, "servicePort": 1, "name": "http"}, {"port": 9090, "servicePort": 2}]
    networking = {"address": "10.0.0.1", "inbound": inbound}
    return load_resource({"type": "Dataplane", "name": name, "labels": labels, "networking": networking}, file="t")


def policy(
    name: str = "p",
    target: Mapping[str, Any] = MESH,
    *,
    rules: Sequence[str] = (),
    to: Sequence[tuple[Mapping[str, Any], str]] = (),
    labels: Mapping[str, str] | None = None,
) -> Resource:
    """Make a MeshTimeout whose items set the idle timeout."""
    spec: dict[str, Any] = {"targetRef": target}
    if rules:
        spec["rules"] = [{"default": {"idleTimeout": idle}} for idle in rules]
    if to:
        spec["to"] = [{"targetRef": ref, "default": {"idleTimeout": idle}} for ref, idle in to]
    return load_resource({"type": "MeshTimeout", "name": name, "labels": dict(labels or {}), "spec": spec}, file="t")


def names(policies: Sequence[Resource]) -> list[str]:
    return [resource.name for resource in policies]


def chooses(policy: Resource, proxy: Resource) -> bool:
    return selects(policy, proxy, proxy.spec_as(Dataplane).inbounds)


def winner_at_inbound(*policies: Resource) -> float:
    """Return the idle timeout that the policies, all of which apply, give to the inbound `http`."""
    proxy = dataplane()
    selected = [p for p in in_order(policies) if chooses(p, proxy)]
    rules = rules_for(selected, proxy.spec_as(Dataplane).inbounds[0])
    idle: float = merge(rule.default for rule in rules)["idleTimeout"]
    return idle


def winner_towards(destination: Destination, *policies: Resource) -> float:
    items = items_for(items_in_order(in_order(policies)), destination)
    idle: float = merge(item.default for item in items)["idleTimeout"]
    return idle


def backend(port: int = 80, port_name: str = "http") -> Destination:
    spec = {"ports": [{"port": port}]}
    service = load_resource({"type": "MeshService", "name": "backend", "labels": {"app": "b"}, "spec": spec}, file="t")
    return Destination(service=service, port=port, port_name=port_name)


BACKEND = {"kind": "MeshService", "labels": {"kuma.io/display-name": "backend"}}
BACKEND_HTTP = {**BACKEND, "sectionName": "http"}


def test_a_target_that_is_absent_is_the_mesh() -> None:
    spec = {"rules": [{"default": {"idleTimeout": "1s"}}]}
    unnamed = load_resource({"type": "MeshTimeout", "name": "p", "spec": spec}, file="t")
    assert chooses(unnamed, dataplane())


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (MESH, True),
        (ALL_PROXIES, True),
        ({"kind": "Dataplane", "labels": {"team": "a"}}, True),
        ({"kind": "Dataplane", "labels": {"team": "a", "app": "web"}}, True),
        ({"kind": "Dataplane", "labels": {"team": "a", "app": "x"}}, False),
        ({"kind": "Dataplane", "labels": {"kuma.io/display-name": "web-1"}}, True),
        ({"kind": "Dataplane", "labels": {"kuma.io/display-name": "web-2"}}, False),
        ({"kind": "Dataplane", "sectionName": "http"}, True),
        # An inbound without a name is called by its port; one with a name is not.
        ({"kind": "Dataplane", "sectionName": "9090"}, True),
        ({"kind": "Dataplane", "sectionName": "8080"}, False),
    ],
)
def test_a_target_selects_by_labels_and_section(target: Mapping[str, Any], chosen: bool) -> None:
    assert chooses(policy(target=target, rules=["1s"]), dataplane(team="a", app="web")) is chosen


def test_a_proxy_that_only_calls_is_selected_too() -> None:
    caller = load_resource({"type": "Dataplane", "name": "d", "networking": {"address": "a"}}, file="t")
    assert chooses(policy(to=[(MESH, "1s")]), caller)
    assert not chooses(policy(target={"kind": "Dataplane", "sectionName": "http"}, rules=["1s"]), caller)


def test_a_policy_of_a_zone_stays_in_its_zone() -> None:
    zonal = policy(rules=["1s"], labels={"kuma.io/origin": "zone", "kuma.io/zone": "east"})
    assert chooses(zonal, dataplane(**{"kuma.io/zone": "east"}))
    assert not chooses(zonal, dataplane(**{"kuma.io/zone": "west"}))
    assert not chooses(zonal, dataplane())


def test_shadow_policies_do_not_count() -> None:
    assert in_order([policy(labels={"kuma.io/effect": "shadow"}, rules=["1s"])]) == ()


def test_a_dataplane_target_beats_the_mesh() -> None:
    assert winner_at_inbound(policy("a", ALL_PROXIES, rules=["1s"]), policy("a", MESH, rules=["2s"])) == 1.0


def test_a_section_beats_a_dataplane_without() -> None:
    section = {"kind": "Dataplane", "sectionName": "http"}
    assert winner_at_inbound(policy("z", section, rules=["1s"]), policy("a", ALL_PROXIES, rules=["2s"])) == 1.0


def test_zone_beats_unset_beats_global() -> None:
    def of(origin: str) -> Resource:
        return policy(origin or "unset", labels={"kuma.io/origin": origin} if origin else {}, rules=["1s"])

    assert names(in_order([of("zone"), of("global"), of("")])) == ["global", "unset", "zone"]


def test_roles_rise_from_system_to_workload_owner() -> None:
    roles = ["workload-owner", "system", "consumer", "producer"]
    policies = [policy(role, labels={"kuma.io/policy-role": role}, rules=["1s"]) for role in roles]
    assert names(in_order(policies)) == ["system", "producer", "consumer", "workload-owner"]
    unset = policy("zzz", rules=["1s"])
    assert names(in_order([policies[3], unset]))[0] == "zzz"


def test_the_first_name_in_the_alphabet_wins() -> None:
    assert winner_at_inbound(policy("zzz", rules=["1s"]), policy("aaa", rules=["2s"])) == 2.0
    assert winner_at_inbound(policy("aaa", rules=["2s"]), policy("zzz", rules=["1s"])) == 2.0
    shown = policy("zzz-hash", rules=["3s"], labels={"kuma.io/display-name": "aa"})
    assert winner_at_inbound(policy("aaa", rules=["2s"]), shown) == 3.0


def test_labels_alone_do_not_beat_a_dataplane_without() -> None:
    # Kuma's documentation says that they do; its code, which we follow, does not look at them.
    labelled = policy("z", {"kind": "Dataplane", "labels": {"kuma.io/display-name": "web-1"}}, rules=["1s"])
    assert winner_at_inbound(labelled, policy("a", ALL_PROXIES, rules=["2s"])) == 2.0


def test_target_kind_counts_before_origin_before_role_before_name() -> None:
    ordered = [
        policy("a", MESH, labels={"kuma.io/origin": "zone"}, rules=["1s"]),
        policy("a", ALL_PROXIES, labels={"kuma.io/policy-role": "producer"}, rules=["1s"]),
        policy("z", ALL_PROXIES, labels={"kuma.io/origin": "zone"}, rules=["1s"]),
        policy("a", ALL_PROXIES, labels={"kuma.io/origin": "zone"}, rules=["1s"]),
        policy("z", ALL_PROXIES, labels={"kuma.io/origin": "zone", "kuma.io/policy-role": "consumer"}, rules=["1s"]),
    ]
    assert in_order(reversed(ordered)) == tuple(ordered)


def test_a_service_beats_the_mesh_within_a_policy_whatever_their_order() -> None:
    assert winner_towards(backend(), policy(to=[(BACKEND, "1s"), (MESH, "2s")])) == 1.0


def test_the_target_of_the_policy_counts_before_that_of_the_item() -> None:
    for_all = policy("a", MESH, to=[(BACKEND, "1s")])
    for_some = policy("z", ALL_PROXIES, to=[(MESH, "2s")])
    assert winner_towards(backend(), for_all, for_some) == 2.0


def test_a_port_beats_its_service_and_is_for_that_port_only() -> None:
    items = policy(to=[(BACKEND_HTTP, "1s"), (BACKEND, "2s"), (MESH, "3s")])
    assert winner_towards(backend(80, "http"), items) == 1.0
    assert winner_towards(backend(81, "admin"), items) == 2.0


def test_a_port_may_be_called_by_its_number() -> None:
    by_number = policy(to=[({**BACKEND, "sectionName": "80"}, "1s"), (BACKEND, "2s")])
    assert winner_towards(backend(80, "http"), by_number) == 1.0


def test_the_kind_of_an_item_counts_before_the_name_of_its_policy() -> None:
    first, last = policy("aaa", to=[(MESH, "1s")]), policy("zzz", to=[(BACKEND, "2s")])
    assert winner_towards(backend(), first, last) == 2.0


def test_of_equal_items_the_first_name_in_the_alphabet_wins() -> None:
    first, last = policy("aaa", to=[(BACKEND, "1s")]), policy("zzz", to=[(BACKEND, "2s")])
    assert winner_towards(backend(), first, last) == 1.0
    assert winner_towards(backend(), last, first) == 1.0


def test_of_equal_items_of_one_policy_the_last_wins() -> None:
    assert winner_towards(backend(), policy(to=[(BACKEND, "1s"), (BACKEND, "2s")])) == 2.0


def test_an_item_selects_services_by_any_of_their_labels() -> None:
    by_label = policy(to=[({"kind": "MeshService", "labels": {"app": "b"}}, "1s"), (MESH, "2s")])
    assert winner_towards(backend(), by_label) == 1.0
    other = policy(to=[({"kind": "MeshService", "labels": {"app": "c"}}, "1s"), (MESH, "2s")])
    assert winner_towards(backend(), other) == 2.0


def test_rules_of_a_section_stay_with_their_inbound() -> None:
    proxy = dataplane()
    sectioned = policy(target={"kind": "Dataplane", "sectionName": "http"}, rules=["1s"])
    http, other = proxy.spec_as(Dataplane).inbounds
    assert len(rules_for([sectioned], http)) == 1
    assert rules_for([sectioned], other) == ()


def test_copies_with_one_display_name_have_one_order() -> None:
    def copy(name: str) -> Resource:
        return policy(name, labels={"kuma.io/display-name": "p"}, rules=["1s"])

    assert names(in_order([copy("p-1"), copy("p-2")])) == names(in_order([copy("p-2"), copy("p-1")])) == ["p-2", "p-1"]
