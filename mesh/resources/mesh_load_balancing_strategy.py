"""MeshLoadBalancingStrategy: how one of a service's endpoints is chosen. Beyond Kuma: type PeakEWMA, slowStart."""

import math
from collections.abc import Iterable
from typing import Any

from mesh.resources.headers import HEADER_NAME
from mesh.resources.policy import Policy, policy_kind
from mesh.resources.resource import DNS_LABEL
from mesh.resources.scalars import Boolean, Duration, Integer, Number, OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record
from mesh.resources.variants import Variant, by_type

_HASH_POLICIES_MOVED = {"hashPolicies": "write them beside loadBalancer, as default.hashPolicies"}
_RING = Integer(min=1, max=8_000_000)


def _ring_order(ring: dict[str, Any]) -> Iterable[Problem]:
    if ring.get("minRingSize", 1) > ring.get("maxRingSize", 8_000_000):
        yield Problem(("minRingSize",), "'minRingSize' is above 'maxRingSize'")


_SLOW_START = Record(
    {
        "window": Field(Duration(positive=True), required=True),
        "aggression": Number(min=0.1, max=100, text=True),
        "minWeightPercent": Number(min=0, max=100, text=True),
    }
)


def _prime(maglev: dict[str, Any]) -> Iterable[Problem]:
    size = maglev.get("tableSize", 65_537)
    if size < 2 or any(size % divisor == 0 for divisor in range(2, math.isqrt(size) + 1)):
        yield Problem(("tableSize",), f"'tableSize' is a prime number, and {size} is not", "write 65537, for example")


_BALANCER = by_type(
    {
        "RoundRobin": Variant("roundRobin", Record({"slowStart": _SLOW_START}), optional=True),
        "LeastRequest": Variant(
            "leastRequest",
            Record(
                {
                    "choiceCount": Integer(min=2, max=100),
                    "activeRequestBias": Number(min=0, max=100, text=True),
                    "slowStart": _SLOW_START,
                }
            ),
            optional=True,
        ),
        "Random": Variant("random", Record({}), optional=True),
        "RingHash": Variant(
            "ringHash",
            Record(
                {"hashFunction": OneOf(("XXHash", "MurmurHash2")), "minRingSize": _RING, "maxRingSize": _RING},
                check=_ring_order,
                retired=_HASH_POLICIES_MOVED,
            ),
            optional=True,
        ),
        "Maglev": Variant(
            "maglev",
            Record({"tableSize": Integer(min=1, max=5_000_011)}, check=_prime, retired=_HASH_POLICIES_MOVED),
            optional=True,
        ),
        "PeakEWMA": Variant("peakEWMA", Record({"decayTime": Duration(positive=True)}), optional=True),
    },
)

_COOKIE = Record(
    {
        "name": Field(Text(what="the name of a cookie", pattern=r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), required=True),
        "ttl": Duration(),
        "path": Text(what="an absolute path", pattern=r"/[!-:<-~]*"),
    }
)
_HASH_POLICY = by_type(
    {
        "Header": Variant("header", Record({"name": Field(HEADER_NAME, required=True)})),
        "Cookie": Variant("cookie", _COOKIE),
        "Connection": Variant("connection", Record({"sourceIP": Field(Boolean(), required=True)})),
        "QueryParameter": Variant("queryParameter", Record({"name": Field(Text(), required=True)})),
        "FilterState": Variant("filterState", Record({"key": Field(Text(), required=True)})),
    },
    also={"terminal": Boolean()},
    dormant={"FilterState": "sidecars have no filter state"},
    unsupported={"SourceIP": "is gone: write {type: Connection, connection: {sourceIP: true}}"},
)


def _all_or_none(local: dict[str, Any]) -> Iterable[Problem]:
    tags = local.get("affinityTags", ())
    weighted = [tag for tag in tags if "weight" in tag]
    if weighted and len(weighted) != len(tags):
        yield Problem(("affinityTags",), "either all affinity tags have a weight, or none")


def _zones_by_type(target: dict[str, Any]) -> Iterable[Problem]:
    kind, zones = target["type"], target.get("zones", ())
    if kind in ("Any", "None") and zones:
        yield Problem(("zones",), f"'zones' cannot stand with type: {kind}")
    if kind in ("Only", "AnyExcept") and not zones:
        yield Problem((), "'zones' is missing", f"type: {kind} needs it")


_ZONES = ListOf(DNS_LABEL, size_min=1)
_AFFINITY_TAG = Record(
    {"key": Field(Text(what="a label's key"), required=True), "weight": Integer(min=1, max=2**32 - 1)}
)
_FAILOVER = Record(
    {
        "from": Record({"zones": Field(_ZONES, required=True)}),
        "to": Field(
            Record(
                {"type": Field(OneOf(("None", "Only", "Any", "AnyExcept")), required=True), "zones": ListOf(DNS_LABEL)},
                check=_zones_by_type,
            ),
            required=True,
        ),
    }
)
_CROSS_ZONE = Record(
    {
        "failover": ListOf(_FAILOVER),
        "failoverThreshold": Record({"percentage": Field(Number(min=1, max=100, text=True), required=True)}),
    }
)
_LOCALITY = Record(
    {
        "disabled": Boolean(),
        "localZone": Record({"affinityTags": ListOf(_AFFINITY_TAG)}, check=_all_or_none),
        "crossZone": _CROSS_ZONE,
    }
)


def _by_destination(policy: Policy) -> Iterable[Problem]:
    for index, item in enumerate(policy.to):
        place = ("to", index, "default")
        if item.target.kind == "MeshHTTPRoute":
            for key in item.default:
                if key != "hashPolicies":
                    yield Problem(
                        (*place, key), f"'{key}' cannot stand with kind: MeshHTTPRoute", "only hashPolicies can"
                    )
        if item.target.kind == "MeshService" and "crossZone" in item.default.get("localityAwareness", {}):
            hint = "a MeshService has one zone: write kind: MeshMultiZoneService or Mesh"
            where = (*place, "localityAwareness", "crossZone")
            yield Problem(where, "'crossZone' cannot stand with kind: MeshService", hint)


MESH_LOAD_BALANCING_STRATEGY = policy_kind(
    "MeshLoadBalancingStrategy",
    path="meshloadbalancingstrategies",
    short="mlbs",
    to=Record({"localityAwareness": _LOCALITY, "loadBalancer": _BALANCER, "hashPolicies": ListOf(_HASH_POLICY)}),
    check=_by_destination,
)
