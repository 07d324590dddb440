"""MeshLoadBalancingStrategy: how one of a service's endpoints is chosen."""

from collections.abc import Iterable
from typing import Any

from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Integer, Number, OneOf
from mesh.resources.schema import Field, Problem, Record

_BALANCERS = {"RoundRobin": "roundRobin", "LeastRequest": "leastRequest", "Random": "random"}


def _own_parameters(balancer: dict[str, Any]) -> Iterable[Problem]:
    for kind, key in _BALANCERS.items():
        if key in balancer and balancer["type"] != kind:
            yield Problem((key,), f"'{key}' cannot stand with type: {balancer['type']}")


_BALANCER = Record(
    {
        "type": Field(
            OneOf(
                tuple(_BALANCERS),
                unsupported=dict.fromkeys(("RingHash", "Maglev", "PeakEWMA"), "is not supported yet"),
            ),
            required=True,
        ),
        "roundRobin": Record({}),
        "random": Record({}),
        "leastRequest": Record(
            {"choiceCount": Integer(min=2, max=100), "activeRequestBias": Number(min=0, max=100, text=True)}
        ),
    },
    check=_own_parameters,
    not_yet=("ringHash", "maglev"),
)

MESH_LOAD_BALANCING_STRATEGY = policy_kind(
    "MeshLoadBalancingStrategy",
    path="meshloadbalancingstrategies",
    short="mlbs",
    to=Record({"loadBalancer": Field(_BALANCER, required=True)}, not_yet=("localityAwareness", "hashPolicies")),
)
