"""Mesh: the boundary within which services know one another."""

import attrs

from mesh.resources.resource import DNS_LABEL, Kind
from mesh.resources.scalars import Text
from mesh.resources.schema import ListOf, Record


@attrs.frozen(kw_only=True)
class Mesh:
    """A mesh. `skip_initial_policies`: kinds of default policies that are not to be made for it, or `*`."""

    skip_initial_policies: tuple[str, ...] = ()


MESH = Kind(
    name="Mesh",
    path="meshes",
    short="m",
    mesh_scoped=False,
    inline=True,
    name_schema=DNS_LABEL,
    spec=Record(
        {"skipCreatingInitialPolicies": ListOf(Text(what="a kind of policy, or '*'"))},
        build=lambda record: Mesh(skip_initial_policies=record.get("skipCreatingInitialPolicies", ())),
        retired={
            "mtls": "write a MeshIdentity, and MeshTLS for the mode",
            "tracing": "write a MeshTrace",
            "logging": "write a MeshAccessLog",
            "metrics": "write a MeshMetric",
            "networking": "write a MeshPassthrough",
            "routing": "write a MeshLoadBalancingStrategy for localities, a Dataplane with listeners for egress",
            "constraints": "bind tokens to workloads instead",
            "meshServices": "leave it out: services are always MeshServices",
        },
    ),
)
