"""Overviews and insights of Dataplanes, in the shapes of Kuma's protobuf JSON (64-bit numbers are text)."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from mesh.control.access import Action
from mesh.control.api.documents import Documents, proxy_of
from mesh.control.api.endpoint import Call, Endpoint, Parameter
from mesh.control.api.known import find_known, known_resources
from mesh.control.api.paging import PAGE_PARAMETERS, list_schema, page_reply
from mesh.control.api.ports import ProxyStatus
from mesh.control.api.problems import bad_query, not_found
from mesh.control.api.replies import json_reply
from mesh.control.api.resources import NOT_RETRIEVED, require_mesh
from mesh.control.insights import Insight, Subscription
from mesh.control.store.values import Stored
from mesh.model.departure import Departure
from mesh.resources.dataplane import Dataplane
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.times import format_time

_KIND = KIND_BY_NAME["Dataplane"]
_LIST_PARAMETERS = (
    *PAGE_PARAMETERS,
    Parameter(name="name", description="Only those with this in their name"),
    Parameter(name="tag", description="Only those with this label, as key:value; may be given several times"),
    Parameter(
        name="gateway",
        description="Only gateways, or only what is none",
        schema={"type": "string", "enum": ["true", "false", "delegated", "builtin"]},
    ),
)


def overview_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints about what is known of Dataplanes beyond what was written."""
    common: dict[str, Any] = {"method": "GET", "kind": "Dataplane", "tag": "Inspect"}
    for path, where in (("/meshes/{mesh}/dataplanes", "of a mesh"), ("/dataplanes", "of all meshes")):
        yield Endpoint(
            path=f"{path}/_overview",
            handle=_list_overviews,
            action=Action.READ,
            summary=f"List the Dataplanes {where} with what is known of their proxies",
            query=_LIST_PARAMETERS,
            reply=list_schema({"type": "object"}),
            **common,
        )
    yield Endpoint(
        path="/meshes/{mesh}/dataplanes/{name}/_overview",
        handle=_get_overview,
        action=Action.READ_OWN,
        summary="Get a Dataplane with what is known of its proxy",
        **common,
    )
    for path, where in (("/meshes/{mesh}/dataplane-insights", "of a mesh"), ("/dataplane-insights", "of all meshes")):
        yield Endpoint(
            path=path,
            handle=_list_insights,
            action=Action.READ,
            summary=f"List what is known of the proxies {where}",
            query=PAGE_PARAMETERS,
            reply=list_schema({"type": "object"}),
            **common,
        )
    yield Endpoint(
        path="/meshes/{mesh}/dataplane-insights/{name}",
        handle=_get_insight,
        action=Action.READ_OWN,
        summary="Get what is known of a proxy",
        **common,
    )


def known_dataplanes(call: Call) -> tuple[Stored, ...]:
    """Return the Dataplanes of the mesh in the path, or of all. Raises: Problem 404."""
    mesh = require_mesh(call) if "mesh" in call.request.path_params else None
    return known_resources(call.plane, _KIND, mesh)


def find_dataplane(call: Call) -> Stored:
    """Return the Dataplane in the path. Raises: Problem 404."""
    mesh, name = require_mesh(call), call.path("name")
    stored = find_known(call.plane, _KIND, mesh, name)
    if stored is None:
        raise not_found(NOT_RETRIEVED, f"there is no Dataplane {name!r} in mesh {mesh!r}")
    return stored


async def _list_overviews(call: Call) -> Response:
    wanted, gateway = call.query("name"), _gateway(call)
    labels = _tags(call)
    found = [
        item
        for item in known_dataplanes(call)
        if wanted in item.resource.name
        and all(item.resource.label(key) == value for key, value in labels)
        and gateway in (None, item.resource.spec_as(Dataplane).gateway)
    ]
    documents = Documents(call)
    return page_reply(call, found, lambda item: _overview(documents, item))


def _tags(call: Call) -> list[tuple[str, str]]:
    pairs = []
    for tag in call.request.query_params.getlist("tag"):
        key, colon, value = tag.partition(":")
        if not colon or not key:
            raise bad_query("tag", "Invalid tag: expects key:value")
        pairs.append((key, value))
    return pairs


def _gateway(call: Call) -> bool | None:
    match call.query("gateway"):
        case "":
            return None
        case "true" | "delegated":
            return True
        case "false":
            return False
        case "builtin":  # There are none any more.
            raise bad_query("gateway", "Invalid gateway: builtin gateways are gone since Kuma 3.0")
        case _:
            raise bad_query("gateway", "Invalid gateway: expects true, false or delegated")


async def _get_overview(call: Call) -> Response:
    return json_reply(_overview(Documents(call), find_dataplane(call)))


async def _list_insights(call: Call) -> Response:
    return page_reply(call, known_dataplanes(call), lambda item: _insight_document(call, item))


async def _get_insight(call: Call) -> Response:
    return json_reply(_insight_document(call, find_dataplane(call)))


def _overview(documents: Documents, item: Stored) -> dict[str, Any]:
    document = documents.of(item)
    envelope = ("mesh", "name", "labels", "creationTime", "modificationTime", "kri")
    return {
        "type": "DataplaneOverview",
        **{key: document[key] for key in envelope if key in document},
        "dataplane": {"networking": _networking(document["networking"], documents.status_of(item.resource))},
        "dataplaneInsight": _insight(documents.call.plane.insight(proxy_of(item.resource))),
        "status": documents.health_of(item.resource),
    }


def _networking(networking: Mapping[str, Any], status: ProxyStatus | None) -> dict[str, Any]:
    """Put the readiness that was reported last into the inbounds, as Kuma's control plane does."""
    ready = dict(status.inbounds) if status is not None else {}
    stays = status is None or status.departure is Departure.STAYING
    inbounds = []
    for inbound in networking.get("inbound", ()):
        is_ready = stays and ready.get(inbound.get("name", str(inbound["port"])), True)
        inbounds.append(inbound if is_ready else {**inbound, "state": "NotReady"})
    return {**networking, **({"inbound": inbounds} if inbounds else {})}


def _insight_document(call: Call, item: Stored) -> dict[str, Any]:
    resource = item.resource
    document: dict[str, Any] = {"type": "DataplaneInsight", "mesh": resource.mesh, "name": resource.name}
    insight = call.plane.insight(proxy_of(resource))
    first = insight.subscriptions[0].connected if insight.subscriptions else item.created
    last = max((subscription.updated for subscription in insight.subscriptions), default=first)
    document |= {"creationTime": format_time(first), "modificationTime": format_time(last)}
    return document | _insight(insight)


def _insight(insight: Insight) -> dict[str, Any]:
    subscriptions = [_subscription(subscription) for subscription in insight.subscriptions]
    expires, issued = insight.certificate_expires, insight.certificate_issued
    if expires is None:
        return {"subscriptions": subscriptions}
    certificate: dict[str, Any] = {
        "certificateExpirationTime": format_time(expires),
        "certificateRegenerations": insight.certificate_regenerations,
    }
    if issued is not None:
        certificate["lastCertificateRegeneration"] = format_time(issued)
    return {"subscriptions": subscriptions, "mTLS": certificate}


def _subscription(subscription: Subscription) -> dict[str, Any]:
    total = {
        "responsesSent": str(subscription.sent),
        "responsesAcknowledged": str(subscription.acked),
        "responsesRejected": str(subscription.rejected),
    }
    ended = subscription.disconnected
    return {
        "id": subscription.session,
        "controlPlaneInstanceId": subscription.instance,
        "connectTime": format_time(subscription.connected),
        **({"disconnectTime": format_time(ended)} if ended is not None else {}),
        "status": {
            "lastUpdateTime": format_time(subscription.updated),
            "total": total,
            # One stream carries everything, so the kinds of Envoy's discovery have no counts of their own.
            **{kind: {} for kind in ("cds", "eds", "lds", "rds")},
        },
        "version": {"kumaDp": {}, "envoy": {}, "dependencies": {}},
    }
