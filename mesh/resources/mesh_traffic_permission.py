"""MeshTrafficPermission: who may call the selected inbounds, by SPIFFE ID or server name. Nobody who is not allowed."""

from mesh.resources.peer_match import peer_match
from mesh.resources.policy import policy_kind
from mesh.resources.schema import ListOf, Record

_PEERS = ListOf(peer_match())

MESH_TRAFFIC_PERMISSION = policy_kind(
    "MeshTrafficPermission",
    path="meshtrafficpermissions",
    short="mtp",
    rules=Record(
        {"deny": _PEERS, "allowWithShadowDeny": _PEERS, "allow": _PEERS},
        retired={"action": "write who is meant: allow: [{spiffeID: {type: Prefix, value: spiffe://DOMAIN/}}]"},
    ),
)
