"""From MeshHTTPRoutes and MeshTCPRoutes as they are written to the routes and clusters that a proxy is told."""

from typing import Any

import attrs
import pytest
import yaml

from mesh.config import defaults
from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.snapshot import (
    Backend,
    Cluster,
    Mirror,
    OutboundListener,
    Route,
    Snapshot,
    decode_part,
    encode_part,
    part_key,
)
from mesh.config.view import DataplaneState, MeshView
from mesh.model.traffic import Protocol
from mesh.policy.request_hash import HashPolicy, HashSource
from mesh.policy.route_table import RouteTable
from mesh.policy.routing import (
    HeaderChanges,
    HeaderMatch,
    PathMatch,
    PathMatchKind,
    PathRewrite,
    QueryMatch,
    Redirect,
    Rewrite,
    RouteMatch,
    ValueMatchKind,
)
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

PREFIX, EXACT = PathMatchKind.PREFIX, PathMatchKind.EXACT


def proxies(*, protocol: str = "http") -> list[Resource]:
    """Make web, which calls shop on 10001, and behind shop, canary and shadow one proxy each."""
    documents: list[dict[str, Any]] = []
    calls = [{"port": 10001, "backendRef": {"kind": "MeshService", "name": "shop", "port": 80}}]
    for number, name in enumerate(("web", "shop", "canary", "shadow")):
        inbound = [{"port": 80, "servicePort": 81, "protocol": protocol, "name": "main"}]
        networking = {"address": f"10.0.0.{number}", "inbound": inbound, "outbound": calls if name == "web" else []}
        labels = {"kuma.io/workload": name}
        documents.append({"type": "Dataplane", "name": f"{name}-1", "labels": labels, "networking": networking})
    return [load({**document, "mesh": "m"}) for document in documents]


def load(document: dict[str, Any]) -> Resource:
    return load_resource(document, file="test.yaml")


def written(text: str) -> list[Resource]:
    return [load({"mesh": "m", **document}) for document in yaml.safe_load_all(text)]


def built(text: str, *, protocol: str = "http", of: str = "web-1") -> Snapshot:
    states = {each.name: DataplaneState(resource=each) for each in proxies(protocol=protocol)}
    view = MeshView(mesh="m", resources=tuple(written(text)), dataplanes=states)
    snapshot = build_snapshot(MeshIndex.of(view), of)
    # What is built can be told.
    assert all(decode_part(part_key(part), encode_part(part)) == part for part in snapshot.parts.values())
    return snapshot


def listener(snapshot: Snapshot) -> OutboundListener:
    part = snapshot.parts["outbound/127.0.0.1:10001"]
    assert isinstance(part, OutboundListener)
    return part


def routes(text: str, *, protocol: str = "http") -> tuple[Route, ...]:
    return listener(built(text, protocol=protocol)).routes


def clusters(snapshot: Snapshot) -> list[str]:
    names = [part.name for part in snapshot.of_kind("cluster") if isinstance(part, Cluster)]
    assert [f"endpoints/{name}" in snapshot.parts for name in names] == [True] * len(names)
    return names


def http_route(rules: str, name: str = "r", to: str = "shop") -> str:
    return f"""
type: MeshHTTPRoute
name: {name}
spec:
  to:
    - targetRef: {{kind: MeshService, labels: {{kuma.io/display-name: {to}}}}}
      rules: {rules}
"""


def ref(name: str, more: str = "port: 80") -> str:
    return f"{{kind: MeshService, labels: {{kuma.io/display-name: {name}}}, {more}}}"


ALL = "matches: [{path: {type: PathPrefix, value: /}}]"
V2 = "matches: [{path: {type: PathPrefix, value: /v2}}]"


def test_without_routes_there_is_the_services_own() -> None:
    (route,) = routes(http_route(f"[{{{ALL}, default: {{}}}}]", to="other"))
    assert (route.name, route.match, route.backends) == ("shop_80", RouteMatch(), (Backend(cluster="shop_80"),))


def test_rules_come_in_evaluation_order_and_the_services_own_route_last() -> None:
    rules = """
        - matches: [{path: {type: RegularExpression, value: "/v[0-9]+"}}]
          default: {}
        - matches: [{path: {type: PathPrefix, value: /v2}}, {path: {type: Exact, value: /v2/x}, method: GET}]
          default: {}
    """
    found = routes(http_route(rules))
    assert [(route.name, route.match.path.kind.value, route.match.path.value) for route in found] == [
        ("r/1", "Exact", "/v2/x"),
        ("r/1", "PathPrefix", "/v2"),
        ("r/0", "RegularExpression", "/v[0-9]+"),
        ("shop_80", "PathPrefix", "/"),
    ]
    # What says nothing of backends leads to the service itself.
    assert {route.backends for route in found} == {(Backend(cluster="shop_80"),)}


def test_a_rule_for_everything_leaves_the_services_own_route_out() -> None:
    snapshot = built(http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('canary')}]}}}}]"))
    assert [route.name for route in listener(snapshot).routes] == ["r/0"]
    # Nothing leads to the service itself any more.
    assert clusters(snapshot) == ["canary_80"]


def test_backends_have_weights_and_bring_their_clusters_once() -> None:
    refs = f"{ref('shop', 'port: 80, weight: 90')}, {ref('canary', 'sectionName: main, weight: 10')}"
    rules = f"[{{{V2}, default: {{backendRefs: [{refs}]}}}}, {{{ALL}, default: {{backendRefs: [{ref('canary')}]}}}}]"
    snapshot = built(http_route(rules))
    first, second = listener(snapshot).routes
    assert first.backends == (Backend(cluster="shop_80", weight=90), Backend(cluster="canary_80", weight=10))
    assert second.backends == (Backend(cluster="canary_80"),)
    assert clusters(snapshot) == ["canary_80", "shop_80"]


@pytest.mark.parametrize(
    "backend",
    [
        ref("nowhere"),
        ref("canary", "port: 81"),
        ref("canary", "sectionName: other"),
        ref("canary", "weight: 1"),  # names no port: fails closed, as in Kuma 3.0
    ],
)
def test_a_backend_that_is_not_there_keeps_its_share(backend: str) -> None:
    rules = f"[{{{ALL}, default: {{backendRefs: [{backend}, {ref('shop', 'port: 80, weight: 3')}]}}}}]"
    (route,) = routes(http_route(rules))
    assert route.backends == (Backend(weight=1), Backend(cluster="shop_80", weight=3))


def test_a_backend_without_weight_brings_nothing() -> None:
    refs = f"{ref('canary', 'port: 80, weight: 0')}, {ref('shop')}"
    snapshot = built(http_route(f"[{{{ALL}, default: {{backendRefs: [{refs}]}}}}]"))
    assert clusters(snapshot) == ["shop_80"]
    snapshot = built(http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('canary', 'port: 80, weight: 0')}]}}}}]"))
    assert (listener(snapshot).routes[0].backends, clusters(snapshot)) == ((), [])


def test_matches_are_told_in_full() -> None:
    rules = """
        - matches:
            - path: {type: Exact, value: /a}
              method: POST
              headers:
                - {name: X-One, value: "1"}
                - {type: Prefix, name: x-two, value: t}
                - {type: RegularExpression, name: x-three, value: "3+"}
                - {type: Present, name: x-four}
                - {type: Absent, name: x-five}
              queryParams: [{type: Exact, name: q, value: "1"}, {type: RegularExpression, name: Q, value: ".*"}]
            - method: GET
          default: {}
    """
    full, bare, _ = routes(http_route(rules))
    assert full.match == RouteMatch(
        path=PathMatch(kind=EXACT, value="/a"),
        method="POST",
        headers=(
            HeaderMatch(name="x-one", value="1"),
            HeaderMatch(name="x-two", kind=ValueMatchKind.PREFIX, value="t"),
            HeaderMatch(name="x-three", kind=ValueMatchKind.REGULAR_EXPRESSION, value="3+"),
            HeaderMatch(name="x-four", kind=ValueMatchKind.PRESENT),
            HeaderMatch(name="x-five", kind=ValueMatchKind.ABSENT),
        ),
        query=(
            QueryMatch(name="q", value="1"),
            QueryMatch(name="Q", kind=ValueMatchKind.REGULAR_EXPRESSION, value=".*"),
        ),
    )
    assert bare.match == RouteMatch(method="GET")


def test_filters_change_requests_and_responses() -> None:
    rules = f"""
        - {V2}
          default:
            filters:
              - type: RequestHeaderModifier
                requestHeaderModifier: {{set: [{{name: A, value: "1"}}], add: [{{name: b, value: "2"}}], remove: [C]}}
              - type: RequestHeaderModifier
                requestHeaderModifier: {{remove: [d]}}
              - type: ResponseHeaderModifier
                responseHeaderModifier: {{set: [{{name: e, value: "3"}}]}}
              - type: URLRewrite
                urlRewrite: {{hostname: x.test, path: {{type: ReplacePrefixMatch, replacePrefixMatch: /v3}}}}
              - type: RequestMirror
                requestMirror: {{percentage: "12.5", backendRef: {ref("shadow")}}}
              - type: RequestMirror
                requestMirror: {{backendRef: {ref("canary")}}}
              - type: RequestMirror
                requestMirror: {{backendRef: {ref("nowhere")}}}
              - type: RequestMirror
                requestMirror: {{percentage: 0, backendRef: {ref("web")}}}
    """
    snapshot = built(http_route(rules))
    route = listener(snapshot).routes[0]
    assert route.request_headers == (
        HeaderChanges(set=(("a", "1"),), add=(("b", "2"),), remove=("c",)),
        HeaderChanges(remove=("d",)),
    )
    assert route.response_headers == (HeaderChanges(set=(("e", "3"),)),)
    assert route.rewrite == Rewrite(hostname="x.test", path=PathRewrite(value="/v3", prefix=True))
    assert route.mirrors == (Mirror(cluster="shadow_80", percent=12.5), Mirror(cluster="canary_80"))
    assert clusters(snapshot) == ["canary_80", "shadow_80", "shop_80"]


def test_a_redirect_goes_nowhere_but_back() -> None:
    redirect = "{scheme: https, hostname: x.test, port: 8443, path: {type: ReplaceFullPath, replaceFullPath: /n}}"
    filters = f"{{type: RequestRedirect, requestRedirect: {redirect}}}"
    rules = f"[{{{ALL}, default: {{filters: [{filters}], backendRefs: [{ref('canary')}]}}}}]"
    snapshot = built(http_route(rules))
    (route,) = listener(snapshot).routes
    assert route.redirect == Redirect(
        scheme="https", hostname="x.test", port=8443, path=PathRewrite(value="/n"), status=302
    )
    assert (route.backends, clusters(snapshot)) == ((), [])


POLICY = """
---
type: {kind}
name: {name}
spec: {{to: [{{targetRef: {target}, default: {default}}}]}}
"""


def policy(kind: str, name: str, target: str, default: str) -> str:
    return POLICY.format(kind=kind, name=name, target=target, default=default)


def labelled(kind: str, name: str) -> str:
    return f"{{kind: {kind}, labels: {{kuma.io/display-name: {name}}}}}"


def test_a_route_has_settings_of_its_own_and_else_those_of_its_service() -> None:
    text = http_route(f"[{{{V2}, default: {{}}}}]") + "---" + http_route(f"[{{{ALL}, default: {{}}}}]", name="s")
    text += policy(
        "MeshTimeout",
        "own",
        labelled("MeshHTTPRoute", "r"),
        "{connectionTimeout: 9s, idleTimeout: 9s, http: {requestTimeout: 1s, streamIdleTimeout: 2s}}",
    )
    text += policy(
        "MeshTimeout", "shop", labelled("MeshService", "shop"), "{idleTimeout: 5s, http: {requestTimeout: 7s}}"
    )
    text += policy("MeshRetry", "own", labelled("MeshHTTPRoute", "r"), "{http: {numRetries: 7}}")
    text += policy(
        "MeshLoadBalancingStrategy",
        "own",
        labelled("MeshHTTPRoute", "r"),
        "{hashPolicies: [{type: Header, header: {name: X-User}}, {type: Cookie, cookie: {name: c, ttl: 0s, path: /}}]}",
    )
    own, of_service = routes(text)
    assert own.timeouts.request_s == 1.0
    assert own.timeouts.stream_idle_s == 2.0
    # Connections are shared with other routes: what bounds them is said for the service.
    assert (own.timeouts.idle_s, own.timeouts.connect_s) == (5.0, defaults.OUTBOUND_TIMEOUTS.connect_s)
    assert own.retry.retries_max == 7
    assert own.retry.per_try_timeout_s == 0.5
    assert own.hash_policies == (
        HashPolicy(source=HashSource.HEADER, name="x-user"),
        HashPolicy(source=HashSource.COOKIE, name="c", cookie_ttl_s=0.0, cookie_path="/"),
    )
    assert of_service.timeouts.request_s == 7.0
    assert of_service.retry.retries_max == defaults.RETRIES_MAX
    assert of_service.hash_policies == ()


def test_a_backend_is_reached_under_the_policies_of_its_own_service() -> None:
    rules = f"[{{{ALL}, default: {{backendRefs: [{ref('canary')}, {ref('shop')}]}}}}]"
    text = http_route(rules)
    text += policy("MeshTimeout", "canary", labelled("MeshService", "canary"), "{connectionTimeout: 1s}")
    limits = "{connectionLimits: {maxRequests: 3}}"
    text += policy("MeshCircuitBreaker", "canary", labelled("MeshService", "canary"), limits)
    snapshot = built(text)
    canary, shop = snapshot.of_kind("cluster")
    assert isinstance(canary, Cluster)
    assert isinstance(shop, Cluster)
    assert (canary.timeouts.connect_s, canary.circuit_breaking.requests_max) == (1.0, 3)
    assert (shop.timeouts.connect_s, shop.circuit_breaking.requests_max) == (5.0, 1024)
    # The request goes by the timeouts of whom the client called.
    assert listener(snapshot).routes[0].timeouts.connect_s == 5.0


def test_the_routes_of_a_backend_are_not_followed() -> None:
    text = http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('canary')}]}}}}]")
    text += "---" + http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('shadow')}]}}}}]", name="c", to="canary")
    assert clusters(built(text)) == ["canary_80"]


def tcp_route(refs: str) -> str:
    return f"""
type: MeshTCPRoute
name: t
spec:
  to:
    - targetRef: {{kind: MeshService, labels: {{kuma.io/display-name: shop}}}}
      rules: [{{default: {{{refs}}}}}]
"""


SPLIT = f"backendRefs: [{ref('shop', 'port: 80, weight: 3')}, {ref('canary')}, {ref('nowhere')}]"
SHARES = (Backend(cluster="shop_80", weight=3), Backend(cluster="canary_80"), Backend())


@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_a_tcp_route_spreads_connections_even_of_http(protocol: str) -> None:
    found = listener(built(tcp_route(SPLIT), protocol=protocol))
    assert found.protocol is Protocol.TCP
    assert [(route.name, route.backends) for route in found.routes] == [("t", SHARES)]


def test_a_tcp_route_counts_only_where_there_is_no_http_route() -> None:
    found = listener(built(tcp_route(SPLIT) + "---" + http_route(f"[{{{V2}, default: {{}}}}]")))
    assert (found.protocol, [route.name for route in found.routes]) == (Protocol.HTTP, ["r/0", "shop_80"])
    found = listener(built(tcp_route(SPLIT) + "---" + http_route(f"[{{{V2}, default: {{}}}}]"), protocol="tcp"))
    assert (found.protocol, [route.name for route in found.routes]) == (Protocol.TCP, ["t"])


def test_a_tcp_route_without_backends_leads_to_the_service() -> None:
    (route,) = routes(tcp_route(""), protocol="tcp")
    assert route.backends == (Backend(cluster="shop_80"),)


def test_a_route_to_outside_the_mesh_brings_how_it_is_secured() -> None:
    outside = """
---
type: MeshExternalService
name: api
spec:
  match: {port: 443}
  endpoints: [{address: api.test, port: 443}]
  tls: {enabled: true}
"""
    backend = "{kind: MeshExternalService, labels: {kuma.io/display-name: api}}"
    snapshot = built(http_route(f"[{{{ALL}, default: {{backendRefs: [{backend}]}}}}]") + outside)
    assert listener(snapshot).routes[0].backends == (Backend(cluster="api.extsvc_443"),)
    assert "origination/api.extsvc_443" in snapshot.parts


def test_whom_a_route_does_not_select_keeps_calling_as_before() -> None:
    text = http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('canary')}]}}}}]")
    selecting = text.replace("spec:\n", "spec:\n  targetRef: {kind: Dataplane, labels: {kuma.io/workload: other}}\n", 1)
    assert [route.name for route in routes(selecting)] == ["shop_80"]


def test_routes_are_made_once_for_all_who_are_alike_until_a_reference_means_something_else() -> None:
    resources = written(http_route(f"[{{{ALL}, default: {{backendRefs: [{ref('canary')}]}}}}]"))
    web = next(each for each in proxies() if each.name == "web-1")
    states = {each.name: DataplaneState(resource=each) for each in proxies()}
    states["web-2"] = DataplaneState(resource=attrs.evolve(web, name="web-2"))
    index = MeshIndex.of(MeshView(mesh="m", resources=tuple(resources), dataplanes=states))
    first, second = (listener(build_snapshot(index, name)) for name in ("web-1", "web-2"))
    assert first is second
    unready = {**states, "canary-1": attrs.evolve(states["canary-1"], inbound_ready={"main": False})}
    after = MeshIndex.of(attrs.evolve(index.view, dataplanes=unready), previous=index)
    assert listener(build_snapshot(after, "web-1")) is first
    gone = {name: state for name, state in states.items() if name != "canary-1"}
    after = MeshIndex.of(attrs.evolve(index.view, dataplanes=gone), previous=index)
    snapshot = build_snapshot(after, "web-1")
    assert listener(snapshot).routes[0].backends == (Backend(),)
    assert clusters(snapshot) == []


@attrs.frozen
class Head:
    target: bytes
    method: bytes = b"GET"

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    def header(self, _: bytes, /) -> bytes | None:
        return None


@pytest.mark.parametrize(
    ("target", "route"),
    [
        (b"/v2", "r/0"),
        (b"/v2/deep", "r/0"),
        (b"/v2/exact?q", "r/1"),
        (b"/v2x", "shop_80"),
        (b"/v10/users", "r/2"),
        (b"/", "shop_80"),
    ],
)
def test_what_was_written_is_what_requests_go_by(target: bytes, route: str) -> None:
    rules = f"""
        - {V2}
          default: {{}}
        - matches: [{{path: {{type: Exact, value: /v2/exact}}}}]
          default: {{}}
        - matches: [{{path: {{type: RegularExpression, value: "/v[0-9]+/.*"}}}}]
          default: {{}}
    """
    table = RouteTable([(found.match, found.name) for found in routes(http_route(rules))])
    assert table.find(Head(target)) == route
