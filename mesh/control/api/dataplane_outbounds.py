"""What one Dataplane listens on and where that leads: `_layout`, `_outbounds/{kri}/...`, in Kuma's shapes."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from mesh.config.addressing import Reachable, reachable
from mesh.config.identities import Identity
from mesh.config.proxy_rules import Origin, ProxyRules, ToRules
from mesh.control.api.dataplane_rules import BASE, COMMON, kris_of, rules_of, shadowed
from mesh.control.api.endpoint import Call, Endpoint
from mesh.control.api.kri import kri_of
from mesh.control.api.overviews import find_dataplane
from mesh.control.api.problems import not_found
from mesh.control.api.redaction import without_secrets
from mesh.control.api.replies import json_reply
from mesh.resources.dataplane import Dataplane
from mesh.resources.resource import Resource

ROUTE_KINDS = ("MeshHTTPRoute", "MeshTCPRoute")


def outbound_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints about what one Dataplane listens on."""
    yield Endpoint(path=f"{BASE}/_layout", handle=_layout, summary="What listens where", **COMMON)
    outbound = "_outbounds/{kri}"
    yield shadowed(f"{outbound}/_policies", _outbound_policies, "Policies towards one service")
    yield shadowed(f"{outbound}/_routes", _outbound_routes, "Routes towards one service")
    yield shadowed(
        f"{outbound}/_routes/{{route}}/_policies", _route_policies, "Policies towards one service by one route"
    )


class _Towards:
    """The outbound that a call names, and what the Dataplane's policies say towards it."""

    def __init__(self, call: Call) -> None:
        dataplane = find_dataplane(call).resource
        outbound = _find_outbound(call, dataplane)
        self.rules = rules_of(call, dataplane)
        self._service = outbound.service
        self._section = outbound.port.name or str(outbound.port.port)

    def kinds(self) -> Iterable[str]:
        """Return the kinds of policies, routes aside, that say anything towards services."""
        return dict.fromkeys(rule.policy for rule in self.rules.to if rule.policy not in ROUTE_KINDS)

    def of(self, kind: str) -> ToRules | None:
        return self.rules.towards(kind, self._service.kind, self._service.name, self._section)


async def _outbound_policies(call: Call) -> Response:
    towards = _Towards(call)
    found = [towards.of(kind) for kind in towards.kinds()]
    policies = [
        {"kind": rule.policy, "conf": rule.conf, "origins": kris_of(rule.origins)} for rule in found if rule is not None
    ]
    return json_reply(without_secrets({"policies": policies}))


async def _outbound_routes(call: Call) -> Response:
    towards = _Towards(call)
    found = [towards.of(kind) for kind in ROUTE_KINDS]
    routes = [
        {"kind": rule.policy, "origins": kris_of(rule.origins), "rules": _route_rules(rule)}
        for rule in found
        if rule is not None
    ]
    return json_reply(without_secrets({"routes": routes}))


async def _route_policies(call: Call) -> Response:
    """What is said for the route itself counts, else what is said for the service."""
    towards = _Towards(call)
    route = _find_route(call, towards.rules)
    policies = []
    for kind in towards.kinds():
        own = [to for to in towards.rules.to if (to.policy, to.kind, to.name) == (kind, route.kind, route.name)]
        found = own[0] if own else towards.of(kind)
        if found is not None:
            policies.append({"kind": kind, "conf": found.conf, "origins": kris_of(found.origins)})
    return json_reply(without_secrets({"policies": policies}))


def _find_route(call: Call, rules: ProxyRules) -> Resource:
    """Return the route that an identifier, of the whole of it or of a rule in it, names."""
    for rule in rules.to:
        for origin in rule.origins if rule.policy in ROUTE_KINDS else ():
            if call.path("route").startswith(kri_of(origin.resource)):
                return origin.resource
    raise not_found("Could not retrieve the route", f"there is no route {call.path('route')}")


def _route_rules(rule: ToRules) -> list[dict[str, Any]]:
    if not rule.routes:
        return [{"kri": _first_kri(rule.origins), "matches": [], "conf": rule.conf}]
    return [
        {"kri": _first_kri(route.origins), "matches": [route.match] if route.match else [], "conf": route.default}
        for route in rule.routes
    ]


def _first_kri(origins: Iterable[Origin]) -> str:
    """Name a rule by the last policy that had a say in it, and its place there."""
    last = list(origins)[-1:]
    return kri_of(last[0].resource, f"rule-{last[0].index or 0}") if last else ""


def _find_outbound(call: Call, dataplane: Resource) -> Reachable:
    for outbound in _outbounds(call, dataplane):
        if call.path("kri") == _outbound_kri(outbound, dataplane.mesh):
            return outbound
    raise not_found("Could not retrieve the outbound", f"{dataplane.name} has no outbound {call.path('kri')}")


def _outbounds(call: Call, dataplane: Resource) -> list[Reachable]:
    index = call.plane.index_of(dataplane.mesh)
    if index is None or dataplane.name not in index.view.dataplanes:
        return []  # No proxy of this name takes part.
    return list(reachable(index, dataplane.name))


def _outbound_kri(outbound: Reachable, mesh: str) -> str:
    service, port = outbound.service, outbound.port
    resource = Resource(kind=service.kind, mesh=mesh, name=service.name, labels=service.labels, spec=None)
    return kri_of(resource, port.name or str(port.port))


async def _layout(call: Call) -> Response:
    dataplane = find_dataplane(call).resource
    spec = dataplane.spec_as(Dataplane)
    outbounds = sorted(_outbounds(call, dataplane), key=lambda outbound: (outbound.service.key, outbound.port.port))
    inbounds = [_listening(kri_of(dataplane, at.name), at.port, at.protocol.value) for at in spec.inbounds]
    targets = [
        {
            **_listening(_outbound_kri(at, dataplane.mesh), at.port.port, at.port.protocol.value),
            "address": str(at.address),
        }
        for at in outbounds
    ]
    index = call.plane.index_of(dataplane.mesh)
    identity = index.identity_by_name.get(dataplane.name) if index is not None else None
    return json_reply(
        {
            "kri": kri_of(dataplane),
            "labels": dict(dataplane.labels),
            "inbounds": inbounds,
            "outbounds": targets,
            "listeners": [
                {"kri": kri_of(dataplane, at.name), "type": at.kind, "port": at.address.port} for at in spec.listeners
            ],
            **({"spiffeId": identity.spiffe_id} if isinstance(identity, Identity) else {}),
        }
    )


def _listening(kri: str, port: int, protocol: str) -> dict[str, Any]:
    return {"kri": kri, "port": port, "protocol": protocol, "proxyResourceName": kri}
