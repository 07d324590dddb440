"""The identity that a scenario has when it names none: secure by default, as a mesh that someone deploys should be.

A scenario with a MeshIdentity of its own is taken as it stands; `tls: none` leaves the mesh in plaintext.
"""

from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource


def default_security(mesh: str) -> tuple[Resource, ...]:
    """Return an identity for every proxy, mutual TLS on every inbound, and the permission for members to call members."""
    members = {"spiffeID": {"type": "Prefix", "value": f"spiffe://{mesh}."}}
    documents = (
        {
            "type": "MeshIdentity",
            "name": "default-identity",
            "mesh": mesh,
            "spec": {
                "selector": {"dataplane": {"matchLabels": {}}},
                "provider": {
                    "type": "Bundled",
                    "bundled": {"insecureAllowSelfSigned": True, "autogenerate": {"enabled": True}},
                },
            },
        },
        {"type": "MeshTLS", "name": "default-tls", "mesh": mesh, "spec": {"rules": [{"default": {"mode": "Strict"}}]}},
        {
            "type": "MeshTrafficPermission",
            "name": "default-members",
            "mesh": mesh,
            "spec": {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {"allow": [members]}}]},
        },
    )
    return tuple(load_resource(document, file="default security") for document in documents)
