"""MeshRateLimit: how many requests or connections an inbound takes in a span, on its own count."""

from collections.abc import Iterable
from typing import Any

from mesh.policy.header_changes import UNCHANGEABLE
from mesh.resources.headers import HEADERS_TO_ADD
from mesh.resources.policy import GATEWAYS_ONLY, Policy, peers, policy_kind
from mesh.resources.scalars import Boolean, Duration, Integer
from mesh.resources.schema import Check, Field, Problem, Record

_INTERVAL_MIN_S = 0.05  # Envoy's token bucket takes no shorter one; this span itself is refused too.


def _interval_long_enough(rate: dict[str, Any]) -> Iterable[Problem]:
    if rate["interval"] <= _INTERVAL_MIN_S:
        yield Problem(("interval",), "'interval' must be longer than 50ms")


def _some_of(*keys: str) -> Check:
    def check(record: dict[str, Any]) -> Iterable[Problem]:
        if not record.keys() & set(keys):
            yield Problem((), f"needs at least one of {', '.join(keys)}")

    return check


def _unframed(answer: dict[str, Any]) -> Iterable[Problem]:
    for key, headers in answer.get("headers", {}).items():
        for index, header in enumerate(headers):
            if header["name"].casefold() in UNCHANGEABLE:
                path = ("headers", key, index, "name")
                yield Problem(path, f"header '{header['name']}' cannot be changed", "it frames the message")


_RATE = Record(
    {"num": Field(Integer(min=1, max=2**32 - 1), required=True), "interval": Field(Duration(), required=True)},
    check=_interval_long_enough,
)
_HTTP = Record(
    {
        "disabled": Boolean(),
        "requestRate": _RATE,
        "onRateLimit": Record({"status": Integer(min=100, max=599), "headers": HEADERS_TO_ADD}, check=_unframed),
    },
    check=_some_of("disabled", "requestRate", "onRateLimit"),
)
_TCP = Record({"disabled": Boolean(), "connectionRate": _RATE}, check=_some_of("disabled", "connectionRate"))
_CONF = Record({"local": Field(Record({"http": _HTTP, "tcp": _TCP}, check=_some_of("http", "tcp")), required=True)})


def _by_side(policy: Policy) -> Iterable[Problem]:
    if policy.rules and policy.target.kind == "Mesh":
        yield Problem((), "'rules' need targetRef: {kind: Dataplane}", "without labels it means every Dataplane")
    if policy.to and policy.target.kind != "Mesh":
        yield Problem(("to",), "'to' needs targetRef: {kind: Mesh}", "it is for delegated gateways")
    if policy.to:
        yield Problem(("to",), GATEWAYS_ONLY, warning=True)
    for index, rule in enumerate(policy.rules):
        place = ("rules", index, "default", "local", "tcp")
        if "tcp" in rule.default["local"] and any(match.spiffe_id for match in rule.matches):
            hint = "connections are counted before it is known who calls"
            yield Problem(place, "'tcp' cannot stand with a spiffeID match", hint)
        elif "tcp" in rule.default["local"] and rule.matches:
            hint = "connections are counted before it is known what they ask for"
            yield Problem(place, "'tcp' with an sni match is kept, but it is for zone proxies", hint, warning=True)


MESH_RATE_LIMIT = policy_kind(
    "MeshRateLimit",
    path="meshratelimits",
    short="mrl",
    to=_CONF,
    to_kinds=("Mesh",),
    rules=_CONF,
    matches=peers(),
    check=_by_side,
)
