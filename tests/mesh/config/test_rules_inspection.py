"""What policies come to for one proxy: each case is a file of `data/rules`, in the manner of Kuma's golden files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.proxy_rules import ProxyRules
from mesh.config.rules import inspect_rules
from mesh.model.errors import ConfigError
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

CASES = sorted((Path(__file__).parent / "data" / "rules").glob("*.yaml"))
IDS = [case.stem for case in CASES]


def read(case: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(case.read_text())
    return content


def loaded(case: dict[str, Any]) -> list[Resource]:
    return [load_resource(document, file="t") for document in case["resources"]]


def names(origins: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{origin['name']}/{origin['index']}" if "index" in origin else origin["name"] for origin in origins]


def with_names(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "origins": names(entry["origins"])}


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_destinations(path: Path) -> None:
    case = read(path)
    found = []
    for entry in inspect_rules(loaded(case), case["dataplane"]).as_json()["to"]:
        routes = entry.pop("routes", None)
        found.append(with_names(entry))
        if routes and any("tried" in expected for expected in case["to"]):
            found[-1]["tried"] = [route["match"]["path"]["value"] for route in routes]
    if "to" in case:
        assert found == case["to"]


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_inbounds(path: Path) -> None:
    case = read(path)
    rules, entries = {}, {}
    for inbound in inspect_rules(loaded(case), case["dataplane"]).as_json()["inbound"]:
        policies = {policy["policy"]: policy for policy in inbound["policies"]}
        name = inbound["inbound"]["name"]
        rules[name] = {kind: [with_names(rule) for rule in policy["rules"]] for kind, policy in policies.items()}
        entries[name] = {
            kind: [names(entry["origins"])[0] for entry in policy["entries"]]
            for kind, policy in policies.items()
            if "entries" in policy
        }
    assert {name: found for name, found in rules.items() if found} == case.get("inbound", {})
    if "entries" in case:
        assert entries == case["entries"]


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_the_proxy_as_a_whole(path: Path) -> None:
    case = read(path)
    document = inspect_rules(loaded(case), case["dataplane"]).as_json()
    found = {entry.pop("policy"): with_names(entry) for entry in document["proxy"]}
    assert found == case.get("proxy", {})
    if "matched" in case:
        assert {entry["policy"]: names(entry["origins"]) for entry in document["policies"]} == case["matched"]
    for warning, part in zip(document["warnings"], case.get("warnings", []), strict=True):
        assert part in warning


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_files_does_not_count(data: st.DataObject) -> None:
    case = read(data.draw(st.sampled_from(CASES)))
    resources = loaded(case)
    shuffled = data.draw(st.permutations(resources))
    first, second = (inspect_rules(given, case["dataplane"]).as_json() for given in (resources, shuffled))
    assert first == second


def shop(*documents: dict[str, Any]) -> list[Resource]:
    dataplane = {"type": "Dataplane", "name": "web-1", "networking": {"address": "10.0.0.1"}}
    service = {"type": "MeshService", "name": "api", "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81}]}}
    return [load_resource(document, file="t") for document in (dataplane, service, *documents)]


def timeout(name: str, idle: str, target: dict[str, Any], **labels: str) -> dict[str, Any]:
    spec = {"to": [{"targetRef": target, "default": {"idleTimeout": idle}}]}
    return {"type": "MeshTimeout", "name": name, "labels": labels, "spec": spec}


MESH = {"kind": "Mesh"}
API = {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}}


def idle(rules: ProxyRules, section: str = "", name: str = "api") -> str | None:
    found = rules.towards("MeshTimeout", "MeshService", name, section)
    return None if found is None else str(found.conf["idleTimeout"])


def test_what_has_no_entry_has_that_of_its_service_and_else_that_of_the_mesh() -> None:
    port = timeout("a", "1s", {**API, "sectionName": "http"})
    rules = inspect_rules(shop(port, timeout("b", "2s", API), timeout("c", "3s", MESH)), "web-1")
    assert [idle(rules, "http"), idle(rules, "81"), idle(rules), idle(rules, name="other")] == ["1s", "2s", "2s", "3s"]
    assert idle(inspect_rules(shop(port), "web-1"), "81") is None


def test_policies_of_one_name_are_told_apart() -> None:
    def limited(**default: str) -> dict[str, Any]:
        spec = {"to": [{"targetRef": MESH, "default": default}]}
        return {"type": "MeshTimeout", "name": "same", "spec": spec}

    rules = inspect_rules(shop(limited(idleTimeout="1s"), limited(connectionTimeout="2s")), "web-1")
    (found,) = rules.to
    assert found.conf == {"idleTimeout": "1s", "connectionTimeout": "2s"}
    assert [origin.name for origin in found.origins] == ["same", "same"]


def test_policies_of_other_namespaces_are_not_shown() -> None:
    proxy = {"type": "Dataplane", "name": "web-2", "networking": {"address": "10.0.0.2"}}
    proxy["labels"] = {"k8s.kuma.io/namespace": "shop"}
    mine = timeout("b", "2s", MESH, **{"k8s.kuma.io/namespace": "shop"})
    others = timeout("a", "1s", MESH, **{"k8s.kuma.io/namespace": "bank", "kuma.io/policy-role": "consumer"})
    assert idle(inspect_rules(shop(proxy, mine, others), "web-2")) == "2s"


def test_shadow_policies_are_shown_on_demand() -> None:
    resources = shop(timeout("b", "2s", MESH), timeout("a", "1s", MESH, **{"kuma.io/effect": "shadow"}))
    assert idle(inspect_rules(resources, "web-1")) == "2s"
    shadow = inspect_rules(resources, "web-1", shadow=True)
    assert idle(shadow) == "1s"
    assert shadow.warnings == ()


def test_a_proxy_that_is_not_there_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"no Dataplane 'web-2' \(did you mean 'web-1'"):
        inspect_rules(shop(), "web-2")
    with pytest.raises(ConfigError, match=r"no Dataplane 'web-1' in mesh 'shop' \(Dataplanes that are there: none"):
        inspect_rules(shop(), "web-1", mesh="shop")
    many = [{"type": "Dataplane", "name": f"d{n}", "networking": {"address": "10.0.0.1"}} for n in range(9)]
    with pytest.raises(ConfigError, match=r"there: d0, d1, d2, d3, d4, \.\.\.\)"):
        inspect_rules(shop(*many), "zebra")


def test_the_mesh_need_be_named_only_where_several_have_such_a_proxy() -> None:
    written = {"type": "Dataplane", "name": "web-9", "mesh": "other", "networking": {"address": "10.0.0.1"}}
    assert inspect_rules(shop(written), "web-9").mesh == "other"
    twice = shop({**written, "name": "web-1"}, timeout("t", "1s", MESH))
    with pytest.raises(ConfigError, match="in several meshes: default, other"):
        inspect_rules(twice, "web-1")
    assert inspect_rules(twice, "web-1", mesh="other").to == ()
    assert idle(inspect_rules(twice, "web-1", mesh="default")) == "1s"
