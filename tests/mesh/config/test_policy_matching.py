"""Which policy applies, and which wins: each rule of the order is one test. `idle` tells who won."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mesh.config.matching import Destination, in_order, items_for, items_in_order, listener_sections, rules_for, selects
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
    glob = policy(rules=["1s"], labels={"kuma.io/origin": "global", "kuma.io/zone": "east"})
    assert chooses(glob, dataplane(**{"kuma.io/zone": "west"}))


def test_nothing_is_held_back_where_a_zone_is_not_known() -> None:
    zonal = policy(rules=["1s"], labels={"kuma.io/origin": "zone", "kuma.io/zone": "east"})
    assert chooses(zonal, dataplane())
    assert chooses(policy(rules=["1s"], labels={"kuma.io/origin": "zone"}), dataplane(**{"kuma.io/zone": "west"}))


def test_a_producers_policy_leaves_its_zone() -> None:
    labels = {"kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/policy-role": "producer"}
    assert chooses(policy(rules=["1s"], labels=labels), dataplane(**{"kuma.io/zone": "west"}))
    consumer = policy(rules=["1s"], labels={**labels, "kuma.io/policy-role": "consumer"})
    assert not chooses(consumer, dataplane(**{"kuma.io/zone": "west"}))


NAMESPACE, ROLE = "k8s.kuma.io/namespace", "kuma.io/policy-role"
ROUTE_CREATED = "gateways.kuma.io/gateway.networking.k8s.io-route-creation-timestamp"


@pytest.mark.parametrize(
    ("labels", "leaves"),
    [
        ({}, False),
        ({ROLE: "consumer"}, False),
        ({ROLE: "workload-owner"}, False),
        ({ROLE: "producer"}, True),
        ({ROLE: "system"}, True),
        ({"k8s.kuma.io/system-namespace": "true"}, True),
    ],
)
def test_a_policy_of_a_namespace_stays_there_unless_it_is_a_producers_or_the_systems(
    labels: Mapping[str, str], leaves: bool
) -> None:
    namespaced = policy(rules=["1s"], labels={NAMESPACE: "shop", **labels})
    assert chooses(namespaced, dataplane(**{NAMESPACE: "shop"}))
    assert chooses(namespaced, dataplane(**{NAMESPACE: "bank"})) is leaves
    # Proxies on Universal have none.
    assert chooses(namespaced, dataplane())
    assert chooses(policy(rules=["1s"], labels={ROLE: "consumer"}), dataplane(**{NAMESPACE: "bank"}))


def test_what_stands_in_the_systems_namespace_is_for_the_whole_mesh() -> None:
    system = policy(rules=["1s"], labels={NAMESPACE: "kuma-system"})
    assert chooses(system, dataplane(**{NAMESPACE: "shop"}))


def test_shadow_policies_count_only_on_demand() -> None:
    shadow, active = policy("a", labels={"kuma.io/effect": "shadow"}, rules=["1s"]), policy("z", rules=["2s"])
    assert names(in_order([shadow, active])) == ["z"]
    assert names(in_order([shadow, active], shadow=True)) == ["z", "a"]


def special(**networking: Any) -> Resource:
    written = {
        "type": "Dataplane",
        "name": "d",
        "labels": {"app": "kong"},
        "networking": {"address": "a", **networking},
    }
    return load_resource(written, file="t")


def test_a_delegated_gateway_is_selected_as_a_whole() -> None:
    kong = special(gateway={"type": "DELEGATED"})
    assert chooses(policy(to=[(MESH, "1s")]), kong)
    assert chooses(policy(target={"kind": "Dataplane", "sectionName": "http"}, rules=["1s"]), kong)
    assert not chooses(policy(target={"kind": "Dataplane", "labels": {"app": "web"}}, rules=["1s"]), kong)


def test_listeners_are_sections_by_name_or_port() -> None:
    listeners = [{"type": "ZoneEgress", "port": 1, "name": "egress"}, {"type": "ZoneIngress", "port": 2}]
    proxy = special(listeners=listeners)
    named, numbered = listener_sections(proxy.spec_as(Dataplane))
    for section, chosen, rules in [("egress", True, (1, 0)), ("2", True, (0, 1)), ("1", False, (0, 0))]:
        sectioned = policy(target={"kind": "Dataplane", "sectionName": section}, rules=["1s"])
        assert chooses(sectioned, proxy) is chosen
        assert (len(rules_for([sectioned], named)), len(rules_for([sectioned], numbered))) == rules
    everywhere = policy(rules=["1s"])
    assert len(rules_for([everywhere], named)) == len(rules_for([everywhere], numbered)) == 1


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


def test_a_policy_of_a_namespace_beats_the_systems_but_not_its_origin() -> None:
    glob = policy("a", labels={"kuma.io/origin": "global", NAMESPACE: "shop"}, rules=["1s"])
    for_all = policy("c", rules=["1s"])
    system = policy("d", labels={NAMESPACE: "kuma-system"}, rules=["1s"])
    namespaced = policy("z", labels={NAMESPACE: "shop"}, rules=["1s"])
    assert names(in_order([namespaced, for_all, glob, system])) == ["a", "d", "c", "z"]


def test_of_the_gateway_apis_routes_the_oldest_wins_and_what_was_written_by_hand_beats_them() -> None:
    def of(name: str, created: str) -> Resource:
        return policy(name, to=[(MESH, "1s")], labels={ROUTE_CREATED: created} if created else {})

    given = [of("zzz", "1700000000000000001"), of("aaa", "1700000000000000002"), of("mmm", ""), of("nnn", "soon")]
    assert names(in_order(given)) == ["aaa", "zzz", "nnn", "mmm"]
    assert [item.policy.name for item in items_in_order(given)] == ["aaa", "zzz", "nnn", "mmm"]


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


def of_kind(kind: str, section: str = "") -> dict[str, Any]:
    return {"kind": kind, "labels": {"app": "b"}, **({"sectionName": section} if section else {})}


@pytest.mark.parametrize("kind", ["MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"])
def test_an_item_is_about_one_kind_of_destination(kind: str) -> None:
    service = backend().service
    items = policy(to=[(of_kind(kind), "1s"), (MESH, "2s")])
    for other in ("MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"):
        winner = winner_towards(Destination(service=service, kind=other), items)
        assert winner == (1.0 if other == kind else 2.0)


def test_kinds_of_destinations_have_an_order_before_names() -> None:
    kinds = ["Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"]
    refs = [MESH, *(of_kind(kind) for kind in kinds[1:])]
    policies = [policy(name, to=[(ref, "1s")]) for name, ref in zip("abcde", refs, strict=True)]
    for given in (policies, policies[::-1]):
        assert [item.target.kind for item in items_in_order(in_order(given))] == kinds


def test_ports_come_after_services_of_the_kind_mesh_service_only() -> None:
    # As Kuma's code has it: between a MeshMultiZoneService and its port the names of the policies decide.
    def winner(kind: str) -> float:
        destination = Destination(service=backend().service, kind=kind, port=80, port_name="http")
        section, whole = policy("z", to=[(of_kind(kind, "http"), "1s")]), policy("a", to=[(of_kind(kind), "2s")])
        return winner_towards(destination, section, whole)

    assert winner("MeshService") == 1.0
    assert winner("MeshMultiZoneService") == 2.0


def test_a_port_is_no_part_of_what_is_said_of_its_whole_service() -> None:
    items = policy(to=[(BACKEND_HTTP, "1s"), (BACKEND, "2s")])
    assert winner_towards(Destination(service=backend().service), items) == 2.0
    zero = policy(to=[({**BACKEND, "sectionName": "0"}, "1s"), (BACKEND, "2s")])
    assert winner_towards(Destination(service=backend().service), zero) == 2.0


def test_items_tell_where_they_were_written() -> None:
    items = items_in_order(in_order([policy("a", to=[(BACKEND, "1s"), (MESH, "2s")]), policy("b", to=[(MESH, "3s")])]))
    assert [(item.policy.name, item.index) for item in items] == [("b", 0), ("a", 1), ("a", 0)]


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
