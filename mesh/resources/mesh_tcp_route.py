"""MeshTCPRoute: where connections go."""

from mesh.resources.backend_refs import BACKEND_REF
from mesh.resources.policy import RouteRule, policy_kind
from mesh.resources.schema import Field, ListOf, Record
from mesh.resources.target_ref import SERVICES

MESH_TCP_ROUTE = policy_kind(
    "MeshTCPRoute",
    path="meshtcproutes",
    short="mtcpr",
    routes=Record(
        {"default": Field(Record({"backendRefs": ListOf(BACKEND_REF)}), required=True)},
        build=lambda rule: RouteRule(default=rule["default"]),
    ),
    routes_max=1,  # There is nothing by which connections to one port could differ.
    to_kinds=SERVICES,
)
