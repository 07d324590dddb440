"""Policies applied and removed one after the other on a running mesh of real processes, each seen by what curl is told.

All the while one caller calls a service that no policy is about: not one of its requests may fail.
"""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from installation import Caller, Day, Plane, free_port, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

MESH = """
type: Mesh
name: shop
---
type: MeshIdentity
name: identity
mesh: shop
spec:
  selector: {dataplane: {matchLabels: {}}}
  spiffeID: {trustDomain: shop.mesh.local, path: "/workload/{{ .Workload }}"}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
---
type: MeshTrafficPermission
name: members
mesh: shop
spec:
  targetRef: {kind: Mesh}
  rules: [{default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://shop.mesh.local/"}}]}}]
"""
WEB = "spiffe://shop.mesh.local/workload/web"
TO_ORDERS = "to: [{targetRef: {kind: MeshService, labels: {kuma.io/display-name: orders}}, "
AT_ORDERS = "targetRef: {kind: Dataplane, labels: {kuma.io/workload: orders}}, "


def answers(day: Day, count: int, path: str = "/") -> "Counter[tuple[int, str]]":
    """Return how often orders answered what, one request after the other."""
    return Counter(day.curl("orders", path) for _ in range(count))


def at_once(day: Day, count: int, path: str) -> "Counter[int]":
    """Return the statuses of requests that are sent together."""
    url = f"http://127.0.0.1:{day.port('to orders')}{path}"
    command = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", url]
    calls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return Counter(int(call.communicate()[0]) for call in calls)


def duration_s(day: Day, path: str = "/") -> float:
    began = time.monotonic()
    day.curl("orders", path)
    return time.monotonic() - began


def redirected(day: Day) -> str:
    """Return where a request for /old is sent to."""
    ended = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{redirect_url}", f"http://127.0.0.1:{day.port('to orders')}/old/a"],
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout


@attrs.frozen
class Step:
    """A policy, and whether requests show that it acts."""

    kind: str
    spec: str
    acts: Callable[[Day], bool]


def _all(expected: tuple[int, str], count: int = 3) -> Callable[[Day], bool]:
    return lambda day: answers(day, count) == Counter({expected: count})


STEPS = (
    Step(
        "MeshHTTPRoute",
        TO_ORDERS + "rules: [{matches: [{path: {type: PathPrefix, value: /}}], default: {backendRefs: "
        "[{kind: MeshService, labels: {kuma.io/display-name: catalog}, port: PORT}]}}]}]",
        _all((200, "catalog")),
    ),
    Step(
        "MeshHTTPRoute",
        TO_ORDERS + "rules: [{matches: [{path: {type: PathPrefix, value: /old}}], default: {filters: [{type: "
        "RequestRedirect, requestRedirect: {hostname: other, port: 80, "
        "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]}}]}]",
        lambda day: redirected(day) in ("http://other/new/a", "http://other:80/new/a"),
    ),
    Step(
        "MeshTimeout",
        TO_ORDERS + "default: {http: {requestTimeout: 200ms}}}]",
        lambda day: day.curl("orders", "/slow") == (504, "upstream request timeout"),
    ),
    Step(
        "MeshTimeout",
        AT_ORDERS + f"rules: [{{matches: [{{spiffeID: {{type: Exact, value: '{WEB}'}}}}], "
        "default: {http: {requestTimeout: 200ms}}}]",
        lambda day: day.curl("orders", "/slow") == (504, "upstream request timeout"),
    ),
    Step(
        "MeshCircuitBreaker",
        TO_ORDERS + "default: {connectionLimits: {maxRequests: 1}}}]",
        lambda day: at_once(day, 4, "/slow") == Counter({200: 1, 503: 3}),
    ),
    Step(
        "MeshRateLimit",
        AT_ORDERS + "rules: [{default: {local: {http: {requestRate: {num: 2, interval: 60s}}}}}]",
        lambda day: answers(day, 5) == Counter({(200, "orders"): 2, (429, "local_rate_limited"): 3}),
    ),
    Step(
        "MeshFaultInjection",
        AT_ORDERS + "rules: [{default: {http: [{abort: {httpStatus: 418, percentage: 100}}]}}]",
        _all((418, "fault filter abort")),
    ),
    Step(
        "MeshFaultInjection",
        AT_ORDERS + "rules: [{default: {http: [{delay: {value: 700ms, percentage: 100}}]}}]",
        lambda day: duration_s(day) >= 0.7,
    ),
    Step(
        "MeshTrafficPermission",
        AT_ORDERS + f"rules: [{{default: {{deny: [{{spiffeID: {{type: Exact, value: '{WEB}'}}}}]}}}}]",
        _all((403, "RBAC: access denied")),
    ),
    Step(
        "MeshHealthCheck",
        TO_ORDERS + "default: {interval: 200ms, timeout: 1s, unhealthyThreshold: 1, healthyThreshold: 1, "
        "http: {path: /, expectedStatuses: [204]}}}, {targetRef: {kind: Mesh}, default: {interval: 60s, timeout: 1s, "
        "unhealthyThreshold: 5, healthyThreshold: 1, tcp: {}}}]",
        lambda day: "health_check.failure" in day.admin("/stats") and "failed_active_hc" in day.admin("/clusters"),
    ),
)


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    try:
        yield day
    finally:
        day.stop()


def test_each_policy_acts_once_it_is_applied_and_no_more_once_it_is_deleted(day: Day) -> None:
    plane = Plane(day.folder / "cp", free_port(), free_port())
    day.start_plane(plane)
    day.use(plane, ca=plane.data / "ca.pem", token=plane.data / "admin.token")
    day.mesh("apply", "-f", "-", stdin=MESH)
    for name in ("web", "catalog", "orders"):
        day.start_service(name, [plane], calls=("catalog", "orders") if name == "web" else ())
    for name in ("catalog", "orders"):
        wait_until(lambda name=name: day.curl(name) == (200, name), timeout_s=30, what=f"web reaches {name}")  # type: ignore[misc]

    with Caller(day).calling() as caller:
        for number, step in enumerate(STEPS):
            name = f"step-{number}"
            spec = step.spec.replace("PORT", str(day.port("catalog")))
            day.mesh(
                *("apply", "--wait", "-f", "-"),
                stdin=f"type: {step.kind}\nname: {name}\nmesh: shop\nspec: {{{spec}}}\n",
            )
            wait_until(lambda step=step: step.acts(day), timeout_s=10, what=f"{name}, {step.kind}, acts")  # type: ignore[misc]
            day.mesh("delete", step.kind.lower(), name, "-m", "shop")
            wait_until(
                lambda: answers(day, 3) == Counter({(200, "orders"): 3}) and day.curl("orders", "/slow")[0] == 200,
                timeout_s=10,
                what=f"orders is as before {name}, {step.kind}",
            )
    assert caller.failed == []
    assert caller.answered > 50
