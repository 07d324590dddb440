"""MeshRetry: what is tried again, how often and how soon. Beyond Kuma: `http.retryBudget {percent, minConcurrency}`.

`retryOn` names conditions (`5xx`, `GatewayError`), status codes ("503") and methods (`HttpMethodGet`), which restrict.
"""

from collections.abc import Iterable
from typing import Any

from mesh.resources.documents import suggest
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Duration, Integer, Number, Scalar
from mesh.resources.schema import Field, ListOf, Problem, Record

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


def _retry_on(value: str | int | float) -> str:
    text = str(value)
    if text in CONDITION_BY_NAME or text in METHOD_BY_NAME:
        return text
    if text.isascii() and text.isdigit() and 100 <= int(text) <= 599:
        return text
    names = [*CONDITION_BY_NAME, *METHOD_BY_NAME]
    if text == "Http3PostConnectFailure":
        raise ValueError("'Http3PostConnectFailure' is not supported: sidecars do not speak HTTP/3")
    guess = suggest(text, names)
    raise ValueError(f"unknown condition '{text}'" + (f", {guess}" if guess else ""))


def _interval_order(back_off: dict[str, Any]) -> Iterable[Problem]:
    base, most = back_off.get("baseInterval"), back_off.get("maxInterval")
    if base is not None and most is not None and most < base:
        yield Problem(("maxInterval",), "'maxInterval' is shorter than 'baseInterval'")


def _something(conf: dict[str, Any]) -> Iterable[Problem]:
    if not conf:
        yield Problem((), "needs 'tcp' or 'http'")


_BACK_OFF = Record(
    {"baseInterval": Field(Duration(positive=True), required=True), "maxInterval": Duration(positive=True)},
    check=_interval_order,
)
_HTTP = Record(
    {
        "numRetries": Integer(min=0, max=100),
        "perTryTimeout": Duration(),
        "backOff": _BACK_OFF,
        "retryOn": ListOf(
            Scalar(
                f'one of {", ".join(CONDITION_BY_NAME)}, HttpMethod{{Get,Put,...}}, or a status code such as "503"',
                _retry_on,
                json={"anyOf": [{"enum": [*CONDITION_BY_NAME, *METHOD_BY_NAME]}, {"pattern": "^[1-5][0-9][0-9]$"}]},
            )
        ),
        "retryBudget": Record({"percent": Number(min=0, max=100, text=True), "minConcurrency": Integer(min=0)}),
    },
    not_yet=(
        "rateLimitedBackOff",
        "retriableRequestHeaders",
        "retriableResponseHeaders",
        "hostSelection",
        "hostSelectionMaxAttempts",
    ),
)

MESH_RETRY = policy_kind(
    "MeshRetry",
    path="meshretries",
    short="mr",
    to=Record(
        {"tcp": Record({"maxConnectAttempt": Integer(min=1, max=100)}), "http": _HTTP},
        check=_something,
        not_yet=("grpc",),
    ),
)
