"""MeshHealthCheck: whether endpoints are asked how they are, how and how often."""

from collections.abc import Iterable
from typing import Any

from mesh.policy.header_changes import UNCHANGEABLE
from mesh.resources.headers import HEADERS_TO_ADD
from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Boolean, Duration, Integer, Text
from mesh.resources.schema import Field, ListOf, Problem, Record
from mesh.resources.target_ref import SERVICES

_SPAN = Duration(positive=True)
_COUNT = Integer(min=1, max=2**31 - 1)
_BYTES = Text(what="bytes in base64", pattern=r"[A-Za-z0-9+/]*={0,2}")


def _protocol(conf: dict[str, Any]) -> Iterable[Problem]:
    if not conf.keys() & {"tcp", "http", "grpc"}:
        yield Problem((), "needs at least one of 'tcp', 'http' and 'grpc'")


def _unframed(check: dict[str, Any]) -> Iterable[Problem]:
    for key, headers in check.get("requestHeadersToAdd", {}).items():
        for index, header in enumerate(headers):
            # The host is for a check to choose.
            if header["name"].casefold() in UNCHANGEABLE - {"host"}:
                path = ("requestHeadersToAdd", key, index, "name")
                yield Problem(path, f"header '{header['name']}' cannot be changed", "it frames the message")


_CONF = Record(
    {
        "interval": _SPAN,
        "timeout": _SPAN,
        "unhealthyThreshold": _COUNT,
        "healthyThreshold": _COUNT,
        "initialJitter": Duration(),
        "intervalJitter": Duration(),
        "intervalJitterPercent": Integer(min=0, max=100),
        "failTrafficOnPanic": Boolean(),
        "eventLogPath": Field(
            Text(what="an absolute path", pattern=r"/\S*"), dormant="what happens is in the sidecar's own log"
        ),
        "alwaysLogHealthCheckFailures": Boolean(),
        "noTrafficInterval": _SPAN,
        "reuseConnection": Boolean(),
        "tcp": Record({"disabled": Boolean(), "send": _BYTES, "receive": ListOf(_BYTES)}),
        "http": Record(
            {
                "disabled": Boolean(),
                "path": Text(what="an absolute path", pattern=r"/[!-~]*"),
                "requestHeadersToAdd": HEADERS_TO_ADD,
                "expectedStatuses": ListOf(Integer(min=100, max=599)),
            },
            check=_unframed,
        ),
        "grpc": Record({"disabled": Boolean(), "serviceName": Text(empty=True), "authority": Text(empty=True)}),
    },
    check=_protocol,
    retired={
        "healthyPanicThreshold": "write it into a MeshCircuitBreaker: default.outlierDetection.healthyPanicThreshold"
    },
)

MESH_HEALTH_CHECK = policy_kind(
    "MeshHealthCheck",
    path="meshhealthchecks",
    short="mhc",
    to=_CONF,
    to_kinds=("Mesh", *SERVICES),
)
