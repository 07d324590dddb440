"""What policies come to for one Dataplane: `_policies`, `_rules`, `_inbounds/{kri}/_policies`, in Kuma's shapes."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from mesh.config.proxy_rules import InboundPolicy, InboundRule, InboundRules, Origin, ProxyRules, ToRules
from mesh.config.rules import inspect_rules
from mesh.control.access import Action
from mesh.control.api.documents import meta_of
from mesh.control.api.endpoint import Call, Endpoint, Handler, Parameter
from mesh.control.api.known import known_resources
from mesh.control.api.kri import kri_of
from mesh.control.api.overviews import find_dataplane
from mesh.control.api.problems import not_found
from mesh.control.api.redaction import without_secrets
from mesh.control.api.replies import json_reply
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import Resource

BASE = "/meshes/{mesh}/dataplanes/{name}"
COMMON: dict[str, Any] = {"method": "GET", "action": Action.READ_OWN, "kind": "Dataplane", "tag": "Inspect"}
SHADOW = Parameter(
    name="shadow", description="As if shadow policies were none", schema={"type": "string", "enum": ["true", "false"]}
)


def rule_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints about one Dataplane's policies."""
    yield shadowed("_policies", _policies, "Policies of the proxy as a whole")
    yield shadowed("_rules", _rules, "All that policies say for the proxy")
    yield shadowed("_inbounds/{kri}/_policies", _inbound_policies, "Policies at one inbound")


def shadowed(path: str, handle: Handler, summary: str) -> Endpoint:
    """Return an endpoint below one Dataplane that can take shadow policies for real ones."""
    return Endpoint(path=f"{BASE}/{path}", handle=handle, summary=summary, query=(SHADOW,), **COMMON)


def rules_of(call: Call, dataplane: Resource) -> ProxyRules:
    """Return what the policies come to for a Dataplane."""
    resources = mesh_resources(call, dataplane.mesh)
    return inspect_rules(resources, dataplane.name, mesh=dataplane.mesh, shadow=call.flag("shadow") is True)


def mesh_resources(call: Call, mesh: str) -> tuple[Resource, ...]:
    """Return what policies and references in a mesh can mean: what was written, and Dataplanes that joined."""
    written = call.plane.catalogue.of_mesh(mesh)
    dataplanes = known_resources(call.plane, KIND_BY_NAME["Dataplane"], mesh)
    return (*written, *(stored.resource for stored in dataplanes))


async def _policies(call: Call) -> Response:
    rules = rules_of(call, find_dataplane(call).resource)
    whole = [{"kind": rule.policy, "conf": rule.conf, "origins": kris_of(rule.origins)} for rule in rules.proxy]
    return json_reply(without_secrets({"policies": whole}))


async def _rules(call: Call) -> Response:
    dataplane = find_dataplane(call).resource
    rules = rules_of(call, dataplane)
    kinds = [matched.policy for matched in rules.matched]
    reply = {
        "resource": meta_of(dataplane),
        "httpMatches": [],
        "rules": [_rules_of_kind(kind, rules) for kind in kinds],
        "warnings": [str(warning) for warning in rules.warnings],
    }
    return json_reply(without_secrets(reply))


def _rules_of_kind(kind: str, rules: ProxyRules) -> dict[str, Any]:
    """Write the rules of one kind of policy as Kuma's InspectRule."""
    document: dict[str, Any] = {"type": kind, "toRules": [], "fromRules": [], "warnings": []}
    document["toResourceRules"] = [_to_rule(rule, rules) for rule in rules.to if rule.policy == kind]
    document["inboundRules"] = [
        {
            "inbound": {"name": inbound.name, "port": inbound.port, "tags": {}},
            "rules": [_inbound_rule(rule) for rule in policy.rules],
        }
        for inbound in rules.inbound
        for policy in inbound.policies
        if policy.policy == kind
    ]
    for rule in rules.proxy:
        if rule.policy == kind:
            document["proxyRule"] = {
                "conf": rule.conf,
                "origin": [meta_of(origin.resource) for origin in rule.origins],
            }
    return document


def _to_rule(rule: ToRules, rules: ProxyRules) -> dict[str, Any]:
    meta = {"type": rule.kind, "mesh": "" if rule.kind == "Mesh" else rules.mesh, "name": rule.name, "labels": {}}
    section = {"resourceSectionName": rule.section} if rule.section else {}
    return {"resourceMeta": meta, **section, "conf": [rule.conf], "origin": _rule_origins(rule.origins)}


def _inbound_rule(rule: InboundRule) -> dict[str, Any]:
    matches = rule.as_json()["matches"]
    document: dict[str, Any] = {"conf": [rule.conf], "origin": _rule_origins(rule.origins)}
    return {**document, **({"matches": matches} if matches else {})}


def _rule_origins(origins: Iterable[Origin]) -> list[dict[str, Any]]:
    return [
        {"resourceMeta": meta_of(origin.resource), **({} if origin.index is None else {"ruleIndex": origin.index})}
        for origin in origins
    ]


def kris_of(origins: Iterable[Origin]) -> list[dict[str, str]]:
    return [{"kri": kri} for kri in dict.fromkeys(kri_of(origin.resource) for origin in origins)]


async def _inbound_policies(call: Call) -> Response:
    dataplane = find_dataplane(call).resource
    inbound = _find_inbound(call, dataplane, rules_of(call, dataplane).inbound)
    return json_reply(without_secrets({"policies": [_inbound_policy(policy) for policy in inbound.policies]}))


def _find_inbound(call: Call, dataplane: Resource, inbounds: Iterable[InboundRules]) -> InboundRules:
    for inbound in inbounds:
        if call.path("kri") in (kri_of(dataplane, inbound.name), kri_of(dataplane, str(inbound.port))):
            return inbound
    raise not_found("Could not retrieve the inbound", f"{dataplane.name} has no inbound {call.path('kri')}")


def _inbound_policy(policy: InboundPolicy) -> dict[str, Any]:
    origins = [origin for rule in policy.rules for origin in rule.origins]
    rules = [{"conf": rule.conf, "matches": rule.as_json()["matches"]} for rule in policy.rules]
    return {"kind": policy.policy, "rules": rules, "origins": kris_of(origins)}
