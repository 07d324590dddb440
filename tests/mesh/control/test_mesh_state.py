"""Which proxies a change can reach, and what stays known of services that lost their last instance."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.config.holding import Holding
from mesh.config.snapshot import Cluster, ClusterEndpoints
from mesh.control.mesh_state import MeshState
from mesh.control.registry import LiveProxy, Presence
from mesh.model.departure import Departure
from mesh.model.names import ProxyId
from mesh.model.security import TrustBundle
from mesh.resources.loading import load_resource, load_resources
from mesh.resources.resource import Resource

IDENTITY = """
{type: MeshIdentity, name: all, mesh: retail, spec: {selector: {dataplane: {matchLabels: {}}}, provider:
  {type: Bundled, bundled: {autogenerate: {enabled: true}}}}}
"""
TRUST = TrustBundle(trust_domain="retail.default.mesh.local", roots_pem=("root",))


def live(name: str, number: int, calls: Iterable[str] = ()) -> LiveProxy:
    networking: dict[str, Any] = {
        "address": f"10.0.0.{number}",
        "inbound": [{"port": 80, "servicePort": 8080, "name": "http"}],
        "outbound": [
            {"port": 10000 + index, "backendRef": {"kind": "MeshService", "name": service, "port": 80}}
            for index, service in enumerate(calls)
        ],
    }
    dataplane = load_resource(
        {
            "type": "Dataplane",
            "mesh": "retail",
            "name": name,
            "labels": {"kuma.io/workload": name.rpartition("-")[0]},
            "networking": networking,
        },
        file="test",
    )
    return LiveProxy(proxy=ProxyId("retail", name), dataplane=dataplane, lease_until=0.0)


WEB, CART, BANK = live("web-1", 1, ["cart"]), live("cart-1", 2), live("bank-1", 3)


def change(
    state: MeshState, *proxies: LiveProxy, resources: tuple[Resource, ...] = (), trust: Iterable[TrustBundle] = ()
) -> tuple[str, ...]:
    index = state.look(resources, proxies)
    state.trust_domains(index)
    return state.take_over(index, trust)


def endpoints(state: MeshState, proxy: str, cluster: str) -> Mapping[str, bool]:
    part = state.build(proxy).decode().parts[f"endpoints/{cluster}"]
    assert isinstance(part, ClusterEndpoints)
    return {endpoint.name: endpoint.healthy for endpoint in part.endpoints}


def test_change_of_an_endpoint_reaches_its_callers() -> None:
    state = MeshState("retail")
    assert change(state, WEB, CART, BANK) == ("bank-1", "cart-1", "web-1")
    assert change(state, WEB, CART, BANK) == ()
    sick = attrs.evolve(CART, inbounds={"http": False})
    assert change(state, WEB, sick, BANK) == ("web-1",)
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": False}


def test_new_instance_reaches_those_who_call_its_service() -> None:
    state = MeshState("retail")
    change(state, WEB, CART, BANK)
    assert change(state, WEB, CART, BANK, live("cart-2", 4)) == ("cart-2", "web-1")
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": True, "cart-2": True}


def test_service_that_comes_later_reaches_those_who_waited_for_it() -> None:
    state = MeshState("retail")
    change(state, WEB)
    assert len(state.unresolved("web-1")) == 1
    assert change(state, WEB, CART) == ("cart-1", "web-1")
    assert state.unresolved("web-1") == ()


def test_service_that_lost_its_last_instance_keeps_its_listener() -> None:
    state = MeshState("retail")
    change(state, WEB, CART)
    assert change(state, WEB) == ("web-1",)
    assert endpoints(state, "web-1", "cart_80") == {}


def test_lost_proxy_stays_among_the_endpoints_and_is_not_ready() -> None:
    state = MeshState("retail")
    change(state, WEB, CART)
    assert change(state, WEB, attrs.evolve(CART, presence=Presence.LOST)) == ("web-1",)
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": False}


def test_newcomer_is_an_endpoint_once_it_listens_and_before_only_where_there_is_nobody_else() -> None:
    state, newcomer = MeshState("retail"), attrs.evolve(live("cart-2", 4), holding=Holding(unopened=("http",)))
    change(state, WEB, newcomer)
    assert endpoints(state, "web-1", "cart_80") == {"cart-2": True}
    change(state, WEB, CART, newcomer)
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": True}
    leaving = attrs.evolve(CART, departure=Departure.CLOSING)
    change(state, WEB, leaving, newcomer)
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": True}
    change(state, WEB, leaving, live("cart-2", 4))
    assert endpoints(state, "web-1", "cart_80") == {"cart-2": True}


def test_service_is_secured_once_all_who_can_be_called_have_certificates_and_stays_so() -> None:
    state, resources = MeshState("retail"), tuple(load_resources({"identity.yaml": IDENTITY}))
    plain, second = Holding(certified=False), live("cart-2", 4)

    def is_secured(*proxies: LiveProxy, resources: tuple[Resource, ...] = resources) -> bool:
        change(state, WEB, *proxies, resources=resources, trust=[TRUST])
        cluster = state.build("web-1").decode().parts["cluster/cart_80"]
        assert isinstance(cluster, Cluster)
        return cluster.tls is not None

    old, new = attrs.evolve(CART, holding=plain), attrs.evolve(second, holding=plain)
    assert not is_secured(old, new)
    assert not is_secured(CART, new)
    assert is_secured(CART, attrs.evolve(second, holding=Holding(unopened=("http",), certified=False)))
    assert is_secured(CART, second)
    assert is_secured(CART, new)  # It comes back with what it had on disk.
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": True}
    assert not is_secured(CART, new, resources=())
    assert not is_secured(CART, new)


def test_new_trust_reaches_everybody_and_outlives_its_last_proxy() -> None:
    state = MeshState("retail")
    resources = tuple(load_resources({"identity.yaml": IDENTITY}))
    index = state.look(resources, [WEB, CART])
    assert state.trust_domains(index) == ("retail.default.mesh.local",)
    assert state.take_over(index, [TRUST]) == ("cart-1", "web-1")
    assert "trust/retail.default.mesh.local" in state.build("web-1").parts
    newer = attrs.evolve(TRUST, roots_pem=("newer", "root"))
    assert change(state, WEB, CART, resources=resources, trust=[newer]) == ("cart-1", "web-1")
    assert state.trust_domains(state.look(resources, [])) == ("retail.default.mesh.local",)


def test_only_those_that_moved_are_looked_at_again() -> None:
    state = MeshState("retail")
    change(state, WEB, CART, BANK)
    again = live("cart-2", 4)
    index = state.look_again((), {"cart-2": again, "cart-1": CART, "bank-1": None})
    assert state.take_over(index, ()) == ("cart-2", "web-1")
    assert sorted(index.view.dataplanes) == ["cart-1", "cart-2", "web-1"]
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": True, "cart-2": True}


def test_look_that_was_not_taken_over_is_made_up_for_by_the_next() -> None:
    state = MeshState("retail")
    change(state, WEB, CART)
    resources = tuple(load_resources({"identity.yaml": IDENTITY}))
    assert state.trust_domains(state.look_again(resources, {"bank-1": BANK})) == ("retail.default.mesh.local",)
    index = state.look_again(resources, {"bank-1": BANK, "cart-1": attrs.evolve(CART, inbounds={"http": False})})
    assert state.take_over(index, [TRUST]) == ("bank-1", "cart-1", "web-1")
    assert endpoints(state, "web-1", "cart_80") == {"cart-1": False}


def test_callers_share_what_they_have_in_common() -> None:
    state = MeshState("retail")
    change(state, live("web-1", 1, ["cart"]), live("web-2", 5, ["cart"]), CART)
    first, second = state.build("web-1").parts, state.build("web-2").parts
    shared = [key for key in first if key in second and first[key] is second[key]]
    assert shared == ["cluster/cart_80", "endpoints/cart_80", "outbound/127.0.0.1:10000"]
