"""Tokens over the API: `POST /tokens/{dataplane,user,zone}` with Kuma's requests; the answer is the token as plain text."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from mesh.control.access import Action
from mesh.control.api.endpoint import Call, Endpoint, JsonSchema
from mesh.control.api.replies import text_reply
from mesh.control.api.validity import Body
from mesh.control.store.values import Key
from mesh.identity.tokens import LIFETIME_S_MAX, LIFETIME_S_MIN, read_payload
from mesh.model.randomness import Random
from mesh.resources.resource import DEFAULT_MESH, DNS_LABEL, NAME
from mesh.resources.times import format_time

TITLE = "Could not issue a token"
REASON_CHARACTERS_MAX = 4000  # In the audit log, which is kept for long.
_DATAPLANE_TYPES = ("", "dataplane")
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}


def token_endpoints() -> Iterable[Endpoint]:
    """Return the endpoints that hand out tokens."""
    fields = {"name": _TEXT, "mesh": _TEXT, "type": _TEXT, "workload": _TEXT}
    tags = {"tags": {"type": "object", "additionalProperties": _TEXTS}}
    yield _endpoint("dataplane", _issue_dataplane, Action.ISSUE_DATAPLANE_TOKEN, {**fields, **tags})
    yield _endpoint("user", _issue_user, Action.ISSUE_USER_TOKEN, {"name": _TEXT, "groups": _TEXTS}, required="name")
    yield _endpoint("zone", _issue_zone, Action.ISSUE_ZONE_TOKEN, {"zone": _TEXT, "scope": _TEXTS}, required="zone")


def _endpoint(whose: str, handle: Any, action: Action, fields: JsonSchema, *, required: str = "") -> Endpoint:
    span = {"type": "string", "description": "A duration such as 24h"}
    return Endpoint(
        method="POST",
        path=f"/tokens/{whose}",
        handle=handle,
        action=action,
        summary=f"Generate a {whose} token",
        tag="Tokens",
        body={
            "type": "object",
            "properties": {**fields, "validFor": span},
            "required": [*([required] if required else []), "validFor"],
        },
        reply=None,
        media_type="text/plain",
    )


async def _issue_dataplane(call: Call) -> Response:
    body = Body(await call.json(), TITLE)
    mesh = body.text("mesh", default=DEFAULT_MESH, schema=DNS_LABEL)
    name = body.text("name", schema=NAME)
    workload = body.text("workload", schema=DNS_LABEL)
    tags = body.text_lists("tags")
    lifetime_s = _lifetime(body)
    if body.text("type") not in _DATAPLANE_TYPES:
        body.refuse("type", "only 'dataplane': zone proxies are Dataplanes too")
    if mesh not in call.plane.catalogue.meshes():
        body.refuse("mesh", f"there is no mesh {mesh!r}")
    body.check()
    token = call.plane.tokens.issue_dataplane(
        mesh=mesh,
        name=name,
        workload=workload,
        tags=tags,
        lifetime_s=lifetime_s,
        now=call.now(),
        random=_random(call),
    )
    return await _hand_out(call, token, ("DataplaneToken", mesh, name or workload))


async def _issue_user(call: Call) -> Response:
    body = Body(await call.json(), TITLE)
    name = body.text("name", required=True)
    groups = body.texts("groups")
    lifetime_s = _lifetime(body)
    body.check()
    token = call.plane.tokens.issue_user(
        name=name, groups=groups, lifetime_s=lifetime_s, now=call.now(), random=_random(call)
    )
    return await _hand_out(call, token, ("UserToken", "", name))


async def _issue_zone(call: Call) -> Response:
    body = Body(await call.json(), TITLE)
    zone = body.text("zone", required=True, schema=DNS_LABEL)
    scope = body.texts("scope")
    lifetime_s = _lifetime(body)
    body.check()
    token = call.plane.tokens.issue_zone(
        zone=zone, scope=scope, lifetime_s=lifetime_s, now=call.now(), random=_random(call)
    )
    return await _hand_out(call, token, ("ZoneToken", "", zone))


def _lifetime(body: Body) -> float:
    return body.span("validFor", least_s=LIFETIME_S_MIN, most_s=LIFETIME_S_MAX)


def _random(call: Call) -> Random:
    return call.env.randomness.stream("api", "token-id")


async def _hand_out(call: Call, token: str, key: Key) -> Response:
    """Note who got which token, by its id: nobody has one that the audit log does not know. Raises: StoreError."""
    claims = read_payload(token)
    whom = {name: value for name, value in claims.items() if name[0].isupper() and value}
    bound = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in whom.items())
    reason = f"jti={claims['jti']} expires={format_time(claims['exp'])} {bound}"
    await call.plane.note("issued", key, by=str(call.caller), reason=reason[:REASON_CHARACTERS_MAX])
    call.env.log.info("token.issued", by=str(call.caller), jti=claims["jti"], expires=claims["exp"], claims=whom)
    return text_reply(token)
