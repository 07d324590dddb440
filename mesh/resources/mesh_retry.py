"""MeshRetry: what is tried again, how often and how soon.

Beyond Kuma: `http.retryBudget {percent, minConcurrency | ratePerSecond}`, how much load retries may add;
`http.perTryIdleTimeout`; `http.hedgeOnPerTryTimeout`, which starts another try beside one that takes too long.
`retryOn` names conditions (`5xx`, `GatewayError`), status codes ("503") and methods (`HttpMethodGet`), which restrict.
"""

from collections.abc import Iterable
from typing import Any

import attrs

from mesh.resources.documents import Path, Value, suggest
from mesh.resources.headers import HEADER_MATCH, HEADER_NAME
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Boolean, Duration, Integer, Number, OneOf, Text
from mesh.resources.schema import Checking, Field, JsonSchema, ListOf, MapOf, Problem, Record, shape

# Kuma's name -> Envoy's name (`mesh.policy.retry.RetryOn`).
CONDITION_BY_NAME = {
    "5xx": "5xx",
    "GatewayError": "gateway-error",
    "Reset": "reset",
    "Retriable4xx": "retriable-4xx",
    "ConnectFailure": "connect-failure",
    "EnvoyRatelimited": "envoy-ratelimited",
    "RefusedStream": "refused-stream",
}
METHOD_BY_NAME = {
    f"HttpMethod{method.capitalize()}": method
    for method in ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
}
GRPC_CONDITION_BY_NAME = {
    "Canceled": "cancelled",
    "DeadlineExceeded": "deadline-exceeded",
    "Internal": "internal",
    "ResourceExhausted": "resource-exhausted",
    "Unavailable": "unavailable",
}
_DORMANT = {"Http3PostConnectFailure": "sidecars do not speak HTTP/3"}


@attrs.frozen(kw_only=True)
class _RetryOn:
    """One condition, status code or method."""

    what: str = f'one of {", ".join(CONDITION_BY_NAME)}, HttpMethod{{Get,Put,...}}, or a status code such as "503"'

    def read(self, value: Value, path: Path, checking: Checking) -> str:
        names = [*CONDITION_BY_NAME, *METHOD_BY_NAME, *_DORMANT]
        if not isinstance(value, str | int) or isinstance(value, bool):
            checking.refuse(path, f"expects {self.what}, got {shape(value)}")
            return ""
        text = str(value)
        if text in _DORMANT:
            checking.warn(path, f"'{text}' is kept, but {_DORMANT[text]}")
        elif text not in names and not (text.isascii() and text.isdigit() and 100 <= int(text) <= 599):
            guess = suggest(text, names)
            checking.refuse(path, f"unknown condition '{text}'", f"{guess} expects {self.what}".strip())
        return text

    def canonical(self, value: Value) -> Value:
        return str(value)

    def json_schema(self) -> JsonSchema:
        names = [*CONDITION_BY_NAME, *METHOD_BY_NAME, *_DORMANT]
        code = {"type": "string", "pattern": "^[1-5][0-9][0-9]$"}
        return {"anyOf": [{"enum": names}, code, {"type": "integer", "minimum": 100, "maximum": 599}]}


def _interval_order(back_off: dict[str, Any]) -> Iterable[Problem]:
    base, most = back_off.get("baseInterval"), back_off.get("maxInterval")
    if base is not None and most is not None and most < base:
        yield Problem(("maxInterval",), "'maxInterval' is shorter than 'baseInterval'")


def _one_floor(budget: dict[str, Any]) -> Iterable[Problem]:
    if "minConcurrency" in budget and "ratePerSecond" in budget:
        yield Problem(("ratePerSecond",), "'minConcurrency' and 'ratePerSecond' exclude each other")


def _something(conf: dict[str, Any]) -> Iterable[Problem]:
    if not conf:
        yield Problem((), "needs at least one of 'tcp', 'http' and 'grpc'")


def _tags_of_their_own(selection: dict[str, Any]) -> Iterable[Problem]:
    tagged = selection["predicate"] == "OmitHostsWithTags"
    if tagged and not selection.get("tags"):
        yield Problem((), "'tags' is missing", "OmitHostsWithTags needs it")
    if not tagged and "tags" in selection:
        yield Problem(("tags",), f"'tags' cannot stand with predicate: {selection['predicate']}")


_BACK_OFF = Record(
    {"baseInterval": Field(Duration(positive=True), required=True), "maxInterval": Duration(positive=True)},
    check=_interval_order,
)
_RESET_HEADER = Record(
    {
        "name": Field(HEADER_NAME, required=True),
        "format": Field(OneOf(("Seconds", "UnixTimestamp")), required=True),
    }
)
_RATE_LIMITED = Record(
    {
        "resetHeaders": Field(ListOf(_RESET_HEADER, size_min=1), required=True),
        "maxInterval": Duration(positive=True),
    }
)
_HOST_SELECTION = Record(
    {
        "predicate": Field(OneOf(("OmitPreviousHosts", "OmitHostsWithTags", "OmitPreviousPriorities")), required=True),
        "tags": MapOf(Text()),
        "updateFrequency": Integer(min=1),
    },
    check=_tags_of_their_own,
)
_COUNT = Integer(min=0, max=100)
_BUDGET = Record(
    {
        "percent": Number(min=0, max=100, text=True),
        "minConcurrency": Integer(min=0),
        "ratePerSecond": Number(min=0, text=True),
    },
    check=_one_floor,
)
_HTTP = Record(
    {
        "numRetries": _COUNT,
        "perTryTimeout": Duration(),
        "perTryIdleTimeout": Duration(),
        "hedgeOnPerTryTimeout": Boolean(),
        "backOff": _BACK_OFF,
        "rateLimitedBackOff": _RATE_LIMITED,
        "retryOn": ListOf(_RetryOn()),
        "retriableRequestHeaders": ListOf(HEADER_MATCH),
        "retriableResponseHeaders": ListOf(HEADER_MATCH),
        "hostSelection": ListOf(_HOST_SELECTION),
        "hostSelectionMaxAttempts": Integer(min=1),
        "retryBudget": _BUDGET,
    }
)
_GRPC = Record(
    {
        "numRetries": _COUNT,
        "perTryTimeout": Duration(),
        "backOff": _BACK_OFF,
        "rateLimitedBackOff": _RATE_LIMITED,
        "retryOn": ListOf(OneOf(tuple(GRPC_CONDITION_BY_NAME))),
    }
)

MESH_RETRY = policy_kind(
    "MeshRetry",
    path="meshretries",
    short="mr",
    to=Record(
        {
            "tcp": Record({"maxConnectAttempt": Integer(min=1, max=100)}),
            "http": _HTTP,
            "grpc": Field(_GRPC, dormant="sidecars of this version carry gRPC ports as opaque TCP"),
        },
        check=_something,
    ),
)
