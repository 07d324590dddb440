"""Small meshes to draw: proxies that call one another in every way, and resources of every kind that configurations read."""

from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import strategies as st

from mesh.config.holding import Holding
from mesh.config.view import DataplaneState
from mesh.model.departure import Departure
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

MESH = "m"
WORKLOADS = ("a", "b")
KINDS = ("MeshService", "MeshExternalService", "MeshMultiZoneService")


def resource(kind: str, name: str, spec: Mapping[str, Any] | None = None, **fields: Any) -> Resource:
    mesh = {} if kind == "HostnameGenerator" else {"mesh": MESH}
    body = {} if spec is None else {"spec": dict(spec)}
    return load_resource({"type": kind, "name": name, **mesh, **body, **fields}, file="t")


def dataplane(name: str, workload: str, **networking: Any) -> Resource:
    labels = {"kuma.io/workload": workload} if workload else {}
    inbound = [] if "outbound" in networking and not workload else [{"port": 80, "servicePort": 81, "protocol": "http"}]
    return resource(
        "Dataplane", name, labels=labels, networking={"address": "10.0.0.1", "inbound": inbound, **networking}
    )


def called(name: str) -> Mapping[str, str]:
    return {"kuma.io/display-name": name}


@st.composite
def refs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a reference to a service, by name or by labels."""
    kind, name = draw(st.sampled_from(KINDS)), draw(st.sampled_from(WORKLOADS))
    by = draw(st.sampled_from(["name", "name", "display name", "label"]))
    if by == "name":
        return {"kind": kind, "name": name}
    return {"kind": kind, "labels": dict(called(name)) if by == "display name" else {"tier": "x"}}


@st.composite
def proxies(draw: st.DrawFn, name: str) -> DataplaneState:
    """Draw one proxy."""
    calls = draw(st.lists(refs(), min_size=1, max_size=3))
    networking: dict[str, Any] = {
        "outbound": [{"port": 10 + n, "backendRef": {**ref, "port": 80}} for n, ref in enumerate(calls)]
    }
    interception = draw(st.sampled_from([None, None, None, "everything", "some"]))
    if interception == "everything":
        networking["transparentProxying"] = {}
    elif interception == "some":
        networking["transparentProxying"] = {"reachableBackends": {"refs": draw(st.lists(refs(), max_size=2))}}
    workload = draw(st.sampled_from(["", *WORKLOADS]))
    written = dataplane(name, workload, **networking)
    departure = draw(st.sampled_from([Departure.STAYING, *Departure]))
    ready = draw(st.sampled_from([{}, {"80": False}]))
    opened, certified = draw(st.booleans()) or draw(st.booleans()), draw(st.booleans())
    holding = Holding(unopened=() if opened else ("80",), certified=certified)
    return DataplaneState(resource=written, inbound_ready=ready, departure=departure, holding=holding)


def _targets(draw: st.DrawFn) -> dict[str, Any]:
    about = draw(st.sampled_from(["mesh", "mesh", "service", "service", "route"]))
    if about == "mesh":
        return {"kind": "Mesh"}
    if about == "route":
        return {"kind": "MeshHTTPRoute", "labels": draw(st.sampled_from([{"tier": "x"}, dict(called("r"))]))}
    return {"kind": draw(st.sampled_from(KINDS)), "labels": dict(called(draw(st.sampled_from(WORKLOADS))))}


@st.composite
def policies(draw: st.DrawFn, name: str) -> Resource:
    """Draw a policy about services, inbounds or proxies as a whole."""
    top = draw(st.sampled_from([{"kind": "Mesh"}, {"kind": "Dataplane", "labels": {"kuma.io/workload": "a"}}]))
    labels = draw(st.sampled_from([{}, {}, {"kuma.io/effect": "shadow"}]))
    idle = draw(st.sampled_from(["1s", "2s"]))
    kind = draw(st.sampled_from(["to", "to", "rules", "passthrough", "access log"]))
    if kind == "to":
        default = {"idleTimeout": idle, "http": {"requestTimeout": idle}}
        spec = {"targetRef": top, "to": [{"targetRef": _targets(draw), "default": default}]}
        return resource("MeshTimeout", name, spec, labels=labels)
    if kind == "rules":
        return resource(
            "MeshTimeout", name, {"targetRef": top, "rules": [{"default": {"idleTimeout": idle}}]}, labels=labels
        )
    if kind == "passthrough":
        mode = {"passthroughMode": draw(st.sampled_from(["All", "None"]))}
        return resource("MeshPassthrough", name, {"targetRef": top, "default": mode}, labels=labels)
    backends = {"backends": [{"type": "File", "file": {"path": "/tmp/x"}}]}
    return resource("MeshAccessLog", name, {"targetRef": top, "rules": [{"default": backends}]}, labels=labels)


@st.composite
def routes(draw: st.DrawFn, name: str) -> Resource:
    """Draw a route towards a service, whose backends and mirrors may be any other services, or none."""
    top = draw(st.sampled_from([{"kind": "Mesh"}, {"kind": "Dataplane", "labels": {"kuma.io/workload": "a"}}]))
    labels = draw(st.sampled_from([{}, {}, {"tier": "x"}, {"kuma.io/effect": "shadow"}]))
    target = {"kind": draw(st.sampled_from(KINDS)), "labels": draw(_chosen())}
    refs = [
        {"kind": kind, "labels": chosen, "port": 80}
        for kind, chosen in draw(st.lists(st.tuples(st.sampled_from(KINDS), _chosen()), max_size=2))
    ]
    default: dict[str, Any] = {"backendRefs": refs}
    if draw(st.booleans()):
        spec = {"targetRef": top, "to": [{"targetRef": target, "rules": [{"default": default}]}]}
        return resource("MeshTCPRoute", name, spec, labels=labels)
    if refs and draw(st.booleans()):
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": refs.pop()}}
        default["filters"] = [mirror]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": draw(st.sampled_from(["/", "/x"]))}}]}
    spec = {"targetRef": top, "to": [{"targetRef": target, "rules": [{**rule, "default": default}]}]}
    return resource("MeshHTTPRoute", name, spec, labels=labels)


def _chosen() -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from([*(dict(called(name)) for name in WORKLOADS), {"tier": "x"}])


@st.composite
def services(draw: st.DrawFn, name: str) -> Resource:
    """Draw a written service of any kind."""
    labels = draw(st.sampled_from([{}, {"tier": "x"}]))
    kind, port = draw(st.sampled_from(KINDS)), draw(st.sampled_from([80, 80, 90]))
    if kind == "MeshService":
        selectors = [{"dataplaneLabels": {"matchLabels": {"kuma.io/workload": "b"}}}, {"dataplaneRef": {"name": "p1"}}]
        ports = [{"port": port, "appProtocol": draw(st.sampled_from(["http", "tcp"]))}]
        spec: dict[str, Any] = {"selector": draw(st.sampled_from(selectors)), "ports": ports}
    elif kind == "MeshMultiZoneService":
        match = draw(st.sampled_from([{"tier": "x"}, dict(called("a"))]))
        spec = {"selector": {"meshService": {"matchLabels": match}}, "ports": [{"port": port, "appProtocol": "http"}]}
    else:
        ca = {"type": "Secret", "secretRef": {"kind": "Secret", "name": "ca"}}
        spec = {"match": {"port": port, "protocol": "http"}, "endpoints": [{"address": "x.test", "port": 1}]}
        if draw(st.sampled_from([True, True, False])):
            spec["tls"] = {"enabled": True, "verification": {"caCert": ca}}
    return attrs.evolve(resource(kind, name, spec, labels=labels), created=draw(st.sampled_from([0.0, 1.0, 2.0])))


@st.composite
def others(draw: st.DrawFn, name: str) -> Resource:
    """Draw what is neither a service nor a policy."""
    kind = draw(st.sampled_from(["MeshTrust", "HostnameGenerator", "MeshZoneAddress"]))
    if kind == "MeshTrust":
        pem = f"-----BEGIN CERTIFICATE-----{draw(st.sampled_from('xy'))}-----END CERTIFICATE-----"
        return resource(kind, name, {"trustDomain": "d", "caBundles": [{"type": "Pem", "pem": {"value": pem}}]})
    if kind == "HostnameGenerator":
        template = draw(st.sampled_from(["{{ .DisplayName }}.mesh", "same.mesh", '{{ label "tier" }}.mesh']))
        selector = draw(st.sampled_from(["meshService", "meshExternalService", "meshMultiZoneService"]))
        return resource(kind, name, {"template": template, "selector": {selector: {}}})
    return resource(kind, name, {"address": "z.test", "port": 1})


def resource_named(name: str) -> st.SearchStrategy[Resource]:
    """Draw a resource of any kind."""
    if name in WORKLOADS:
        return services(name)
    if name == "ca":
        return st.sampled_from(["eA==", "eQ=="]).map(lambda data: resource("Secret", name, data=data))
    if name == "i":
        labels = st.sampled_from([{}, {"kuma.io/workload": "a"}, {"kuma.io/workload": "b"}])
        return labels.map(lambda matched: identity(name, matched))
    return st.one_of(policies(name), policies(name), routes(name), routes(name), others(name))


def identity(name: str, labels: Mapping[str, str]) -> Resource:
    """Make the MeshIdentity of those who carry some labels."""
    provider = {"type": "Bundled", "bundled": {"autogenerate": {"enabled": True}}}
    return resource(
        "MeshIdentity", name, {"selector": {"dataplane": {"matchLabels": dict(labels)}}, "provider": provider}
    )
