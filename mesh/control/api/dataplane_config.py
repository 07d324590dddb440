"""The configuration of one Dataplane's proxy, and what shadow policies would change in it: `_config`."""

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec
from starlette.responses import Response

from mesh.config.matching import is_shadow
from mesh.config.snapshot import Part, encode_part, redacted
from mesh.control.api.dataplane_rules import BASE, COMMON, SHADOW
from mesh.control.api.documents import proxy_of
from mesh.control.api.endpoint import Call, Endpoint, Parameter
from mesh.control.api.overviews import find_dataplane
from mesh.control.api.ports import PartChange
from mesh.control.api.problems import Problem, not_found
from mesh.control.api.redaction import without_secrets
from mesh.control.api.replies import json_reply
from mesh.control.store.values import Put
from mesh.model.errors import ConfigError
from mesh.model.names import ProxyId
from mesh.resources.resource import EFFECT

_INCLUDE = Parameter(name="include", description="diff: what shadow policies would change")


def config_endpoints() -> Iterable[Endpoint]:
    """Return the endpoint with a proxy's configuration."""
    yield Endpoint(
        path=f"{BASE}/_config",
        handle=_config,
        summary="The proxy's configuration, without secrets",
        query=(SHADOW, _INCLUDE),
        **COMMON,
    )


async def _config(call: Call) -> Response:
    """With `shadow=true` the configuration as if shadow policies were none; `include=diff` says what that changes."""
    proxy = proxy_of(find_dataplane(call).resource)
    try:
        snapshot = call.plane.snapshot_of(proxy)
    except ConfigError as error:
        raise Problem(409, "Could not build the configuration", str(error)) from None
    if snapshot is None:
        raise not_found("Could not retrieve the configuration", f"{proxy} has none here: it is not connected")
    parts = {key: _shown(part) for key, part in sorted(snapshot.parts.items())}
    changes = _shadow_changes(call, proxy) if call.flag("shadow") else []
    for change in changes:
        if change.after is None:
            parts.pop(change.part, None)
        else:
            parts[change.part] = without_secrets(change.after)
    reply: dict[str, Any] = {"xds": {"version": snapshot.version(), "parts": dict(sorted(parts.items()))}}
    if "diff" in call.query("include").split(","):
        reply["diff"] = [_patch(change) for change in changes]
    return json_reply(reply)


def _shown(part: Part) -> Any:
    return without_secrets(msgspec.json.decode(encode_part(redacted(part))))


def _shadow_changes(call: Call, proxy: ProxyId) -> list[PartChange]:
    """Return what would change for a proxy if the shadow policies of its mesh were in effect."""
    lit = [
        Put(resource=attrs.evolve(policy, labels={key: policy.labels[key] for key in policy.labels if key != EFFECT}))
        for policy in call.plane.catalogue.of_mesh(proxy.mesh)
        if is_shadow(policy)
    ]
    if not lit:
        return []
    return [change for of in call.plane.preview(lit).proxies if of.proxy == proxy for change in of.changes]


def _patch(change: PartChange) -> dict[str, Any]:
    """Write a change as an operation of a JSON Patch. Source: RFC 6902, RFC 6901 section 3."""
    pointer = change.part.replace("~", "~0").replace("/", "~1")
    value = {} if change.after is None else {"value": without_secrets(change.after)}
    return {"op": change.op, "path": f"/parts/{pointer}", **value}
