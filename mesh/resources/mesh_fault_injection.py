"""MeshFaultInjection: errors, delays and slow answers that an inbound makes up, to see what callers do."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.policy import GATEWAYS_ONLY, Policy, peers, policy_kind
from mesh.resources.scalars import Duration, Integer, Number, Text
from mesh.resources.schema import Field, ListOf, Problem, Record

_SHARE = Field(Number(min=0, max=100, text=True), required=True)
_BANDWIDTH = Text(what="a bandwidth such as 50Mbps, in kbps, Mbps or Gbps", pattern=r"[0-9]+(\.[0-9]+)? ?[kMG]bps")


def _something(fault: dict[str, Any]) -> Iterable[Problem]:
    if not fault:
        yield Problem((), "needs at least one of abort, delay, responseBandwidth")


_FAULT = Record(
    {
        "abort": Record({"httpStatus": Field(Integer(min=200, max=599), required=True), "percentage": _SHARE}),
        "delay": Record({"value": Field(Duration(), required=True), "percentage": _SHARE}),
        "responseBandwidth": Record({"limit": Field(_BANDWIDTH, required=True), "percentage": _SHARE}),
    },
    check=_something,
)
_CONF = Record({"http": ListOf(_FAULT)})


def _to_of_gateways(policy: Policy) -> Iterable[Problem]:
    if policy.to and policy.target.kind != "Mesh":
        yield Problem(("to",), "'to' needs targetRef: {kind: Mesh}", "it is for delegated gateways")
    elif policy.to:
        yield Problem(("to",), GATEWAYS_ONLY, warning=True)


MESH_FAULT_INJECTION = policy_kind(
    "MeshFaultInjection",
    path="meshfaultinjections",
    short="mfi",
    to=_CONF,
    to_kinds=("Mesh",),
    rules=_CONF,
    matches=peers(),
    exclusive=False,
    check=_to_of_gateways,
)
