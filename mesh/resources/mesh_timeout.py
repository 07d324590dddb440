"""MeshTimeout: how long connections and requests may take, towards services (`to`) or at inbounds (`rules`)."""

from collections.abc import Iterable

from mesh.resources.policy import Policy, peers, policy_kind
from mesh.resources.scalars import Duration
from mesh.resources.schema import Problem, Record

# What can differ by caller: the rest belongs to the connection, before it is known who calls.
_BY_CALLER = ("requestTimeout", "streamIdleTimeout")

_CONF = Record(
    {
        "connectionTimeout": Duration(positive=True),
        "idleTimeout": Duration(),
        "http": Record(
            {
                "requestTimeout": Duration(),
                "streamIdleTimeout": Duration(),
                "maxStreamDuration": Duration(),
                "maxConnectionDuration": Duration(),
                "requestHeadersTimeout": Duration(),
            }
        ),
    }
)


def _by_caller(policy: Policy) -> Iterable[Problem]:
    hint = f"with a spiffeID match only {' and '.join(_BY_CALLER)} can be set"
    for index, rule in enumerate(policy.rules):
        if not any(match.spiffe_id for match in rule.matches):
            continue
        place = ("rules", index, "default")
        for key in rule.default:
            if key != "http":
                yield Problem((*place, key), f"'{key}' cannot differ by caller", hint)
        for key in rule.default.get("http", {}):
            if key not in _BY_CALLER:
                yield Problem((*place, "http", key), f"'{key}' cannot differ by caller", hint)


MESH_TIMEOUT = policy_kind(
    "MeshTimeout", path="meshtimeouts", short="mt", to=_CONF, rules=_CONF, matches=peers(), check=_by_caller
)
