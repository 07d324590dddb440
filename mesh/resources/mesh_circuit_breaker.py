"""MeshCircuitBreaker: how much may be open at once (limits), and when an endpoint is left out (outlier detection)."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Boolean, Duration, Integer, Number
from mesh.resources.schema import Field, Problem, Record
from mesh.resources.target_ref import SERVICES

_AT_LEAST_ONE = Integer(min=1, max=2**32 - 1)
_CONSECUTIVE = Record({"consecutive": Field(_AT_LEAST_ONE, required=True)})
_PERCENT = Integer(min=0, max=100)

_LIMITS = Record(
    {
        "maxConnections": _AT_LEAST_ONE,
        "maxConnectionPools": Field(_AT_LEAST_ONE, dormant="an endpoint has one pool of connections"),
        "maxPendingRequests": _AT_LEAST_ONE,
        "maxRequests": _AT_LEAST_ONE,
        "maxRetries": _AT_LEAST_ONE,
    },
)


def _local_needs_split(outliers: dict[str, Any]) -> Iterable[Problem]:
    detectors = outliers.get("detectors", {})
    if "localOriginFailures" in detectors and not outliers.get("splitExternalAndLocalErrors"):
        hint = "set splitExternalAndLocalErrors: true"
        yield Problem(("detectors", "localOriginFailures"), "local errors are not counted apart", hint)
    if not detectors and not outliers.get("disabled"):
        yield Problem((), "'outlierDetection' needs at least one detector", "detectors that are absent do nothing")


_OUTLIERS = Record(
    {
        "disabled": Boolean(),
        "interval": Duration(positive=True),
        "baseEjectionTime": Duration(positive=True),
        "maxEjectionPercent": _PERCENT,
        "splitExternalAndLocalErrors": Boolean(),
        "healthyPanicThreshold": Number(min=0, max=100, text=True),
        "detectors": Record(
            {
                "totalFailures": _CONSECUTIVE,
                "gatewayFailures": _CONSECUTIVE,
                "localOriginFailures": _CONSECUTIVE,
                "successRate": Record(
                    {
                        "minimumHosts": _AT_LEAST_ONE,
                        "requestVolume": _AT_LEAST_ONE,
                        "standardDeviationFactor": Number(min=0, max=100, text=True),
                    }
                ),
                "failurePercentage": Record(
                    {"minimumHosts": _AT_LEAST_ONE, "requestVolume": _AT_LEAST_ONE, "threshold": _PERCENT}
                ),
            }
        ),
    },
    check=_local_needs_split,
)

MESH_CIRCUIT_BREAKER = policy_kind(
    "MeshCircuitBreaker",
    path="meshcircuitbreakers",
    short="mcb",
    to_kinds=("Mesh", *SERVICES),
    to=Record({"connectionLimits": _LIMITS, "outlierDetection": _OUTLIERS}),
    rules=Record(
        {
            "connectionLimits": _LIMITS,
            "outlierDetection": Field(
                _OUTLIERS, dormant="an inbound has one endpoint, and there is no other to go to while it is ejected"
            ),
        }
    ),
    exclusive=False,
)
