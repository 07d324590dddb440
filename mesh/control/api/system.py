"""The control plane about itself: its front page, who calls, which kinds there are, its settings, status and audit log."""

import re
from collections.abc import Iterable
from typing import Any

import attrs
import msgspec
from starlette.responses import Response

from mesh.control.access import Action
from mesh.control.api.documents import Documents, proxy_of
from mesh.control.api.endpoint import Call, Endpoint, Parameter
from mesh.control.api.gate import require
from mesh.control.api.known import known_resources
from mesh.control.api.kri import kind_of_kri, kri_of
from mesh.control.api.paging import base_url
from mesh.control.api.ports import PRODUCT, ProxyStatus
from mesh.control.api.problems import bad_body, not_found
from mesh.control.api.redaction import without_secrets
from mesh.control.api.replies import etag, json_reply
from mesh.control.status import offline
from mesh.control.store.values import AuditEntry
from mesh.model.names import ProxyId
from mesh.resources.registry import KINDS
from mesh.resources.resource import Kind
from mesh.resources.times import format_time

KUMA_VERSION = "3.0.0"  # Whose routes, shapes and resources these are.
AUDIT_SIZE = 100
AUDIT_SIZE_MAX = 1000


def system_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints about the control plane."""
    get: dict[str, Any] = {"method": "GET", "tag": "System"}
    yield Endpoint(path="/", handle=_index, action=Action.INDEX, summary="What this server is", **get)
    yield Endpoint(path="/who-am-i", handle=_who_am_i, action=Action.WHO_AM_I, summary="Who is asking", **get)
    state: dict[str, Any] = {**get, "action": Action.READ_STATE}
    yield Endpoint(path="/config", handle=_config, summary="The control plane's settings, without secrets", **state)
    yield Endpoint(path="/_resources", handle=_resources, summary="The kinds of resources", **state)
    yield Endpoint(path="/policies", handle=_policies, summary="The kinds of policies", **state)
    yield Endpoint(
        path="/_kri/{kri}", handle=_by_kri, action=Action.READ, summary="Get a resource by its identifier", **get
    )
    yield Endpoint(
        path="/status",
        handle=_status,
        summary="Which version each proxy should have, was sent and runs",
        query=(Parameter(name="mesh", description="Only the proxies of this mesh"),),
        **state,
    )
    yield Endpoint(
        path="/audit",
        handle=_audit,
        action=Action.READ_AUDIT,
        summary="Who changed what, the newest first",
        query=(
            Parameter(name="size", description="How many entries at most", schema={"type": "integer"}),
            Parameter(name="before", description="Only entries before this number", schema={"type": "integer"}),
        ),
        **get,
    )


async def _index(call: Call) -> Response:
    settings = call.settings
    return json_reply(
        {
            "hostname": settings.hostname,
            "product": PRODUCT,
            "version": settings.version,
            "instanceId": settings.instance_id,
            "clusterId": settings.cluster_id,
            "gui": f"{base_url(call)}/gui",
            "basedOnKuma": KUMA_VERSION,
        }
    )


async def _who_am_i(call: Call) -> Response:
    caller = call.caller
    token = {"tokenId": caller.token_id} if caller.token_id else {}
    return json_reply({"name": caller.name, "groups": list(caller.groups), "role": caller.role.value, **token})


async def _config(call: Call) -> Response:
    settings = call.settings
    own = {"mode": "zone", "environment": "universal", "store": {"type": settings.store}}
    return json_reply(without_secrets({**own, "multizone": {"zone": {"name": settings.zone}}, **settings.config}))


async def _resources(call: Call) -> Response:
    return json_reply({"resources": [_describe(kind) for kind in sorted(KINDS, key=lambda kind: kind.name)]})


async def _policies(call: Call) -> Response:
    policies = sorted((kind for kind in KINDS if kind.policy), key=lambda kind: kind.name)
    return json_reply(
        {
            "policies": [
                {
                    "name": kind.name,
                    "readOnly": kind.generated,
                    "path": kind.path,
                    "singularDisplayName": _words(kind.name),
                    "pluralDisplayName": _plural(_words(kind.name)),
                    "isExperimental": False,
                    "isTargetRefBased": True,
                    "isInbound": kind.has_rules,
                    "isOutbound": kind.has_to,
                }
                for kind in policies
            ]
        }
    )


def _describe(kind: Kind) -> dict[str, Any]:
    """Describe a kind as Kuma's ResourceTypeDescription."""
    policy = {
        "isTargetRef": True,
        "hasToTargetRef": kind.has_to,
        "hasFromTargetRef": False,
        "hasRulesTargetRef": kind.has_rules,
        "isFromAsRules": kind.has_rules,
    }
    return {
        "name": kind.name,
        "scope": "Mesh" if kind.mesh_scoped else "Global",
        "readOnly": kind.generated,
        "path": kind.path,
        "shortName": kind.short,
        "singularDisplayName": _words(kind.name),
        "pluralDisplayName": _plural(_words(kind.name)),
        "includeInFederation": not kind.generated and kind.name != "Dataplane",
        **({"policy": policy} if kind.policy else {}),
    }


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


def _plural(words: str) -> str:
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith(("s", "S", "sh")) else f"{words}s"


async def _by_kri(call: Call) -> Response:
    kri = call.path("kri")
    kind = kind_of_kri(kri)
    if kind is None:
        raise bad_body("Could not parse KRI: kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section> is expected")
    require(call.caller, Action.READ, kind.name)
    for stored in known_resources(call.plane, kind, None):
        if kri_of(stored.resource) == kri:
            return json_reply(Documents(call).of(stored), headers={"etag": etag(stored.version)})
    raise not_found("Could not retrieve a resource", f"nothing is called {kri}")


async def _status(call: Call) -> Response:
    mesh = call.query("mesh")
    plane = call.plane
    meshes = [name for name in plane.catalogue.meshes() if mesh in ("", name)]
    statuses: dict[ProxyId, ProxyStatus] = {status.proxy: status for status in plane.status()}
    for stored in plane.catalogue.list("Dataplane"):
        proxy = proxy_of(stored.resource)
        if proxy not in statuses:
            statuses[proxy] = offline(proxy)
    return json_reply(
        {
            "instance": call.settings.instance_id,
            "revision": plane.catalogue.revision,
            "published": {name: plane.published_revision(name) for name in meshes},
            "proxies": [_proxy_status(statuses[proxy]) for proxy in sorted(statuses) if mesh in ("", proxy.mesh)],
        }
    )


def _proxy_status(status: ProxyStatus) -> dict[str, Any]:
    expires, refusal = status.certificate_expires, status.refusal
    return {
        "mesh": status.proxy.mesh,
        "name": status.proxy.name,
        "instance": status.instance,
        "presence": status.presence.value,
        "wantedVersion": status.wanted_version,
        "sentVersion": status.sent_version,
        "ackedVersion": status.acked_version,
        "lagSeconds": round(status.lag_s, 3),
        "refusal": msgspec.to_builtins(attrs.asdict(refusal)) if refusal is not None else None,
        "certificateExpires": format_time(expires) if expires is not None else None,
        "inbounds": [{"name": name, "ready": ready} for name, ready in status.inbounds],
        "departure": status.departure.value,
    }


async def _audit(call: Call) -> Response:
    size = call.number("size", AUDIT_SIZE, least=1, most=AUDIT_SIZE_MAX)
    before = call.number("before", 0, least=0, most=2**50) or None
    entries = await call.plane.audit(limit=size, before=before)
    further = entries[-1].sequence if len(entries) == size else None
    return json_reply({"items": [_audit_entry(entry) for entry in entries], "next": further})


def _audit_entry(entry: AuditEntry) -> dict[str, Any]:
    kind, mesh, name = entry.key
    return {
        "sequence": entry.sequence,
        "at": format_time(entry.at),
        "by": entry.by,
        "action": entry.action,
        "type": kind,
        "mesh": mesh,
        "name": name,
        "version": entry.version,
        "revision": entry.revision,
        "detail": entry.detail,
    }
