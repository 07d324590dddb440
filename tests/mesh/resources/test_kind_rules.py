"""What each kind refuses, beyond the shape of its values."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mesh.model.errors import ConfigError
from mesh.resources.loading import load_resource, load_resources

MESH = {"kind": "Mesh"}
ECDSA = "ECDHE-ECDSA-AES128-GCM-SHA256"
SERVICE = {"kind": "MeshService", "labels": {"app": "x"}}
WEB = {"spiffeID": {"type": "Exact", "value": "spiffe://d/web"}}


def to(default: Any, target: Any = MESH) -> dict[str, Any]:
    return {"to": [{"targetRef": target, "default": default}]}


def inbound(default: Any, *matches: Any) -> dict[str, Any]:
    rule = {"matches": list(matches), "default": default} if matches else {"default": default}
    return {"targetRef": {"kind": "Dataplane"}, "rules": [rule]}


def route(rule: Any) -> dict[str, Any]:
    return {"to": [{"targetRef": SERVICE, "rules": [rule]}]}


def http(matches: Any = None, **default: Any) -> dict[str, Any]:
    return route({"matches": matches or [{"path": {"type": "PathPrefix", "value": "/"}}], "default": default})


def refused(kind: str, spec: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_resource({"type": kind, "name": "p", "spec": spec}, file="f")
    return [str(violation) for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (
            "MeshTimeout",
            inbound({"idleTimeout": "1s"}, WEB),
            "rules[0].default.idleTimeout: 'idleTimeout' cannot differ",
        ),
        (
            "MeshTimeout",
            inbound({"http": {"maxStreamDuration": "1s"}}, WEB),
            "rules[0].default.http.maxStreamDuration: 'maxStreamDuration' cannot differ by caller",
        ),
        (
            "MeshTimeout",
            to({}, {"kind": "MeshExternalService", "labels": {}}),
            "a MeshExternalService is chosen by 'labels'",
        ),
        (
            "MeshTimeout",
            to({}, {"kind": "MeshHTTPRoute", "labels": {"a": "b"}, "sectionName": "x"}),
            "to[0].targetRef.sectionName: 'sectionName' cannot stand here",
        ),
        (
            "MeshCircuitBreaker",
            to({}, {"kind": "MeshHTTPRoute", "labels": {"a": "b"}}),
            "'MeshHTTPRoute' is nothing that",
        ),
        ("MeshCircuitBreaker", inbound({}, WEB), "rules[0].matches: unknown key 'matches'"),
        ("MeshRetry", to({}), "needs at least one of 'tcp', 'http' and 'grpc'"),
        ("MeshRetry", to({"http": {"retryBudget": {"minConcurrency": 1, "ratePerSecond": 1}}}), "exclude each other"),
        (
            "MeshRetry",
            to(
                {
                    "http": {
                        "hostSelection": [
                            {"predicate": "OmitHostsWithTags"},
                            {"predicate": "OmitPreviousHosts", "tags": {}},
                        ]
                    }
                }
            ),
            "hostSelection[0]: 'tags' is missing",
        ),
        ("MeshRetry", to({"http": {"retriableRequestHeaders": [{"name": "a"}]}}), "[0]: 'value' is missing"),
        ("MeshRetry", to({"http": {"retryOn": [True]}}), "retryOn[0]: expects one of 5xx,"),
        (
            "MeshRetry",
            to({"http": {"retriableRequestHeaders": [{"type": "RegularExpression", "name": "a", "value": "("}]}}),
            "[0].value: '(' is not a regular expression",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"loadBalancer": {"type": "RoundRobin"}}, {"kind": "MeshHTTPRoute", "labels": {"a": "b"}}),
            "'loadBalancer' cannot stand with kind: MeshHTTPRoute (only hashPolicies can)",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"localityAwareness": {"crossZone": {}}}, SERVICE),
            "'crossZone' cannot stand with kind: MeshService",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"localityAwareness": {"localZone": {"affinityTags": [{"key": "a", "weight": 1}, {"key": "b"}]}}}),
            "affinityTags: either all affinity tags have a weight, or none",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"localityAwareness": {"crossZone": {"failover": [{"to": {"type": "Any", "zones": ["a"]}}]}}}),
            "'zones' cannot stand with type: Any",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"localityAwareness": {"crossZone": {"failover": [{"to": {"type": "Only"}}]}}}),
            "'zones' is missing",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"hashPolicies": [{"type": "Header"}]}),
            "hashPolicies[0]: 'header' is missing",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"loadBalancer": {"type": "RingHash", "ringHash": {"minRingSize": 9, "maxRingSize": 8}}}),
            "'minRingSize' is above 'maxRingSize'",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"loadBalancer": {"type": "Maglev", "maglev": {"tableSize": 65536}}}),
            "'tableSize' is a prime number, and 65536 is not (write 65537, for example)",
        ),
        (
            "MeshLoadBalancingStrategy",
            to({"hashPolicies": [{"type": "Cookie", "cookie": {"name": "s", "ttl": "1h", "path": "/; domain=x"}}]}),
            "expects an absolute path",
        ),
        ("MeshHealthCheck", to({"interval": "1s"}), "needs at least one of 'tcp', 'http' and 'grpc'"),
        ("MeshRateLimit", inbound({"local": {}}), "local: needs at least one of http, tcp"),
        (
            "MeshRateLimit",
            inbound({"local": {"http": {"requestRate": {"num": 1, "interval": "50ms"}}}}),
            "interval: 'interval' must be longer than 50ms",
        ),
        (
            "MeshRateLimit",
            {"rules": [{"default": {"local": {"tcp": {"disabled": True}}}}]},
            "spec: 'rules' need targetRef: {kind: Dataplane}",
        ),
        (
            "MeshRateLimit",
            inbound({"local": {"tcp": {"disabled": True}}}, WEB),
            "'tcp' cannot stand with a spiffeID match",
        ),
        (
            "MeshRateLimit",
            {"targetRef": {"kind": "Dataplane"}, **to({"local": {"http": {"disabled": True}}})},
            "spec.to: 'to' needs targetRef: {kind: Mesh}",
        ),
        (
            "MeshRateLimit",
            to({"local": {"http": {"disabled": True}}}, SERVICE),
            "'MeshService' is nothing that this policy",
        ),
        ("MeshFaultInjection", inbound({"http": [{}]}), "needs at least one of abort, delay, responseBandwidth"),
        (
            "MeshFaultInjection",
            inbound({"http": [{"responseBandwidth": {"limit": "50", "percentage": 1}}]}),
            "expects a bandwidth such as 50Mbps",
        ),
        (
            "MeshFaultInjection",
            {"targetRef": {"kind": "Dataplane"}, **to({"http": []})},
            "'to' needs targetRef: {kind: Mesh}",
        ),
        (
            "MeshRateLimit",
            inbound(
                {"local": {"http": {"onRateLimit": {"headers": {"set": [{"name": "Content-Length", "value": "1"}]}}}}}
            ),
            "onRateLimit.headers.set[0].name: header 'Content-Length' cannot be changed",
        ),
        (
            "MeshFaultInjection",
            inbound({"http": [{"abort": {"httpStatus": 101, "percentage": 1}}]}),
            "httpStatus: expects a whole number from 200 to 599",
        ),
        ("MeshAccessLog", inbound({}), "'backends' is missing"),
        (
            "MeshAccessLog",
            inbound({"backends": [{"type": "File", "tcp": {"address": "a:1"}}]}),
            "'tcp' cannot stand with type",
        ),
        (
            "MeshAccessLog",
            inbound({"backends": [{"type": "Tcp", "tcp": {"address": "nowhere"}}]}),
            "expects a host and a port such as 127.0.0.1:5000",
        ),
        ("MeshTrace", {"default": {"backends": [{"type": "Zipkin", "zipkin": {"url": "z"}}] * 2}}, "at most 1 item(s)"),
        ("MeshTrace", {"default": {"tags": [{"name": "a"}]}}, "tags[0]: needs either 'literal' or 'header'"),
        ("MeshTrace", {"targetRef": MESH}, "'default' is missing"),
        ("MeshMetric", {"default": {"applications": [{"path": "/m"}]}}, "'port' is missing"),
        (
            "MeshMetric",
            {"default": {"sidecar": {"profiles": {"include": [{"type": "Regex", "match": "("}]}}}},
            "include[0].match: '(' is not a regular expression",
        ),
        ("MeshHTTPRoute", route({"default": {}}), "'matches' is missing"),
        ("MeshHTTPRoute", http([{}]), "matches[0]: needs at least one of path, method, queryParams, headers"),
        ("MeshHTTPRoute", http([{"path": {"type": "PathPrefix", "value": "/v1/"}}]), "a prefix ends without '/'"),
        ("MeshHTTPRoute", http([{"method": "get"}]), "did you mean 'GET'?"),
        (
            "MeshHTTPRoute",
            http([{"path": {"type": "RegularExpression", "value": "/(?=a)b"}}]),
            "matches[0].path.value: '/(?=a)b' is not a regular expression that RE2 runs: invalid perl operator: (?=",
        ),
        (
            "MeshHTTPRoute",
            http([{"path": {"type": "RegularExpression", "value": "(a{1,100}){1,100}"}}]),
            "matches[0].path.value: '(a{1,100}){1,100}' is not a regular expression that RE2 runs: ",
        ),
        (
            "MeshHTTPRoute",
            http([{"queryParams": [{"type": "RegularExpression", "name": "q", "value": "["}]}]),
            "queryParams[0].value: '[' is not a regular expression that RE2 runs: missing ]: [",
        ),
        (
            "MeshHealthCheck",
            to({"http": {"requestHeadersToAdd": {"add": [{"name": "Transfer-Encoding", "value": "chunked"}]}}}),
            "requestHeadersToAdd.add[0].name: header 'Transfer-Encoding' cannot be changed (it frames the message)",
        ),
        ("MeshHealthCheck", to({"http": {"path": "/\0"}}), "http.path: expects an absolute path, got '/"),
        (
            "MeshHTTPRoute",
            http(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["content-*"]}}]),
            "requestHeaderModifier.remove[0]: expects the name of a header, got 'content-*'",
        ),
        (
            "MeshHTTPRoute",
            http(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["Host"]}}]),
            "requestHeaderModifier.remove[0]: header 'host' cannot be changed (it frames the message or names its host)",
        ),
        (
            "MeshHTTPRoute",
            http(
                filters=[
                    {
                        "type": "ResponseHeaderModifier",
                        "responseHeaderModifier": {"set": [{"name": "a", "value": "b\r\nc: d"}]},
                    }
                ]
            ),
            "set[0].value: expects the value of a header",
        ),
        (
            "MeshHTTPRoute",
            http(
                filters=[
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a?b=c"}},
                    }
                ]
            ),
            "replaceFullPath: expects an absolute path without query, got '/a?b=c'",
        ),
        (
            "MeshHTTPRoute",
            http([{"queryParams": [{"type": "Exact", "name": "q", "value": "1"}] * 2}]),
            "parameter 'q' is there twice",
        ),
        (
            "MeshHTTPRoute",
            http([{"headers": [{"type": "Present", "name": "a", "value": "b"}]}]),
            "'value' cannot stand with",
        ),
        (
            "MeshHTTPRoute",
            http(backendRefs=[{"kind": "MeshMultiZoneService", "labels": {"a": "b"}}]),
            "a MeshMultiZoneService needs 'port'",
        ),
        (
            "MeshHTTPRoute",
            http(backendRefs=[{**SERVICE, "port": 1, "sectionName": "x"}]),
            "'port' and 'sectionName' exclude each other",
        ),
        ("MeshHTTPRoute", http(filters=[{"type": "URLRewrite"}]), "filters[0]: 'urlRewrite' is missing"),
        (
            "MeshHTTPRoute",
            http(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["A", "a"]}}]),
            "remove[1]: header 'a' is there twice",
        ),
        (
            "MeshHTTPRoute",
            http(filters=[{"type": "RequestRedirect", "requestRedirect": {"statusCode": 304}}]),
            "statusCode: expects one of 301, 302, 303, 307, 308, got 304",
        ),
        (
            "MeshHTTPRoute",
            http(
                [{"path": {"type": "Exact", "value": "/x"}}],
                filters=[
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/y"}},
                    }
                ],
            ),
            "urlRewrite.path.replacePrefixMatch: a prefix can only be replaced where all matches have a path of type",
        ),
        (
            "MeshHTTPRoute",
            http(filters=[{"type": "URLRewrite", "urlRewrite": {"hostname": "10.0.0.1"}}]),
            "expects a host name, not an IP address",
        ),
        (
            "MeshHTTPRoute",
            {"to": [{"targetRef": MESH, "rules": []}]},
            "'Mesh' is nothing that this policy can be about",
        ),
        (
            "MeshHTTPRoute",
            {"to": [{"targetRef": SERVICE, "hostnames": ["a"], "rules": []}]},
            "'hostnames' is not supported (leave it out",
        ),
        (
            "MeshTCPRoute",
            {"to": [{"targetRef": SERVICE, "rules": [{"default": {}}, {"default": {}}]}]},
            "rules: takes at most 1 item(s), got 2",
        ),
        (
            "MeshTCPRoute",
            route({"default": {"backendRefs": [{"kind": "MeshService", "labels": {}}]}}),
            "labels: a MeshService is chosen by 'labels'",
        ),
        (
            "MeshTLS",
            {"targetRef": {"kind": "Dataplane"}, "rules": [{"default": {"tlsCiphers": [ECDSA]}}]},
            "'tlsCiphers' needs targetRef: {kind: Mesh}",
        ),
        (
            "MeshTLS",
            {"rules": [{"default": {"tlsCiphers": ["AES128-SHA"]}}]},
            "tlsCiphers[0]: expects one of ECDHE-ECDSA-AES",
        ),
        (
            "MeshTLS",
            {"rules": [{"default": {"tlsVersion": {"max": "TLS12"}, "tlsCiphers": ["ECDHE-RSA-AES256-GCM-SHA384"]}}]},
            "sidecars can agree on none of them: they need one of ECDHE-ECDSA-*",
        ),
        (
            "MeshTLS",
            {"rules": [{"default": {"tlsVersion": {"min": "TLS13", "max": "TLS12"}}}]},
            "'min' is above 'max'",
        ),
        (
            "MeshPassthrough",
            {"default": {"appendMatch": [{"type": "Domain", "value": "a.b", "protocol": "tcp", "port": 1}]}},
            "protocol: protocol tcp does not name a domain",
        ),
        (
            "MeshPassthrough",
            {"default": {"appendMatch": [{"type": "Domain", "value": "*.b", "protocol": "http"}]}},
            "'port' is missing",
        ),
        (
            "MeshPassthrough",
            {"default": {"appendMatch": [{"type": "IP", "value": "1.2"}]}},
            "expects an IP address, got '1.2'",
        ),
        (
            "MeshPassthrough",
            {"default": {"appendMatch": [{"type": "CIDR", "value": "10.0.0.1"}]}},
            "expects a network such as 10.0.0.0/8",
        ),
        (
            "MeshPassthrough",
            {"default": {"appendMatch": [{"type": "IP", "value": "10.0.0.1", "port": 80}] * 2}},
            "appendMatch[1]: '10.0.0.1' is there twice (first as appendMatch[0])",
        ),
        ("MeshProxyPatch", {"default": {"appendModifications": [{}]}}, "needs exactly one of cluster, listener,"),
        (
            "MeshProxyPatch",
            {"default": {"appendModifications": [{"cluster": {"operation": "Remove", "value": "x"}}]}},
            "'value' cannot stand with operation: Remove",
        ),
        (
            "MeshProxyPatch",
            {"default": {"appendModifications": [{"httpFilter": {"operation": "AddBefore", "value": "x"}}]}},
            "'match.name' is missing",
        ),
        ("MeshExternalService", {"match": {"port": 80}, "endpoints": [{"address": "a"}]}, "'port' is missing"),
        (
            "MeshExternalService",
            {"match": {"port": 80}, "tls": {"version": {"min": "TLS13", "max": "TLS12"}}},
            "'min' TLS13 is above 'max' TLS12",
        ),
        (
            "MeshExternalService",
            {"match": {"port": 80}, "tls": {"verification": {"clientCert": {"type": "File", "file": {"path": "/c"}}}}},
            "'clientCert' needs 'clientKey' too",
        ),
        (
            "MeshMultiZoneService",
            {"selector": {"meshService": {"matchLabels": {}}}, "ports": []},
            "ports: needs at least 1 item(s), got 0",
        ),
        ("HostnameGenerator", {"template": "a", "selector": {}}, "selector: needs exactly one of meshService,"),
        (
            "HostnameGenerator",
            {"template": "{{ .Name }}", "selector": {"meshService": {}}},
            "unknown {{ .Name }} in a template; allowed: .DisplayName, .Zone, .Namespace, label",
        ),
        ("HostnameGenerator", {"template": "{{ .Zone", "selector": {"meshService": {}}}, "is not closed"),
        ("MeshOpenTelemetryBackend", {"endpoint": {"path": "/x"}}, "'path' cannot stand with protocol: grpc"),
        (
            "MeshIdentity",
            {
                "provider": {
                    "type": "Bundled",
                    "bundled": {
                        "ca": {
                            "certificate": {"type": "File", "file": {"path": "/c"}},
                            "privateKey": {"type": "EnvVar", "envVar": {"name": "KEY"}},
                        }
                    },
                }
            },
            "provider.bundled.ca: this control plane issues by an authority that it makes itself",
        ),
        ("MeshIdentity", {"provider": {"type": "Extension"}}, "'extension' is missing"),
        ("Workload", {"a": 1}, "unknown key 'a' (no keys are allowed here)"),
    ],
)
def test_what_is_refused(kind: str, spec: Mapping[str, Any], expected: str) -> None:
    found = refused(kind, spec)
    assert any(expected in violation for violation in found), found


def test_networking_that_does_not_fit_together_is_refused() -> None:
    networking = {
        "address": "10.0.0.1",
        "gateway": {"type": "DELEGATED"},
        "inbound": [{"port": 80, "servicePort": 81}],
        "listeners": [{"type": "ZoneIngress", "port": 80}],
        "outbound": [{"port": 1, "backendRef": {"kind": "MeshService", "name": "a", "labels": {"b": "c"}, "port": 1}}],
    }
    with pytest.raises(ConfigError) as caught:
        load_resource({"type": "Dataplane", "name": "d", "networking": networking}, file="f")
    assert str(caught.value) == "f: networking.outbound[0].backendRef: needs either 'name' or 'labels'"
    del networking["outbound"]
    with pytest.raises(ConfigError) as caught:
        load_resource({"type": "Dataplane", "name": "d", "networking": networking}, file="f")
    assert [str(one) for one in caught.value.violations] == [
        "f: networking.gateway: 'gateway' and 'inbound' exclude each other (leave one of them out)",
        "f: networking.listeners[0]: 10.0.0.1:80 is taken by inbound[0] (choose another port)",
    ]


@pytest.mark.parametrize("written", ["hunter2!", 12345, "off", ["hunter2"], {"v": "hunter2"}, None])
def test_secrets_are_in_no_message(written: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_resource({"type": "Secret", "name": "s", "data": written}, file="f")
    assert "expects data in base64" in str(caught.value)
    for value in ("hunter2", "12345", "off"):
        assert value not in str(caught.value)


def test_secrets_that_yaml_misreads_are_not_quoted() -> None:
    text = "type: Secret\nname: s\ndata: 0777\n---\ntype: MeshTLS\nname: t\nspec: {rules: [{default: {mode: 0777}}]}\n"
    with pytest.raises(ConfigError) as caught:
        load_resources({"f.yaml": text})
    first, second = (str(violation) for violation in caught.value.violations)
    assert first == "f.yaml:3:7: data: this text means two things in YAML (quote it)"
    assert "0777" in second


def test_data_sources_show_nothing_of_what_stands_in_them() -> None:
    spec: Any = {"match": {"port": 1}, "tls": {"verification": {"caCert": "hunter2"}}}
    for source in ("hunter2", {"type": "InsecureInline", "insecureInline": "hunter2"}):
        spec["tls"]["verification"]["caCert"] = source
        found = refused("MeshExternalService", spec)
        assert len(found) == 1 and "hunter2" not in found[0]


def test_json_and_yaml_read_the_same() -> None:
    spec = to({"http": {"numRetries": 1}})
    text = json.dumps({"type": "MeshRetry", "name": "p", "spec": spec})
    assert load_resources({"f.json": text})[0] == load_resource(json.loads(text), file="f")
