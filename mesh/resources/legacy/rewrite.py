"""Which kind is rewritten by what."""

from collections.abc import Callable, Mapping

from mesh.resources.documents import Document
from mesh.resources.legacy.dataplanes import rewrite_dataplane
from mesh.resources.legacy.load_balancing import rewrite_load_balancing
from mesh.resources.legacy.meshes import rewrite_mesh
from mesh.resources.legacy.permissions import rewrite_permission
from mesh.resources.legacy.policies import rewrite_policy
from mesh.resources.legacy.rewriting import Rewriting, Rewritten
from mesh.resources.legacy.services import rewrite_mesh_service, rewrite_mesh_trust
from mesh.resources.legacy.telemetry import rewrite_telemetry
from mesh.resources.resource import Kind

_BY_KIND: Mapping[str, Callable[[Rewriting], None]] = {
    "Mesh": rewrite_mesh,
    "Dataplane": rewrite_dataplane,
    "MeshService": rewrite_mesh_service,
    "MeshTrust": rewrite_mesh_trust,
    "MeshTrafficPermission": rewrite_permission,
    "MeshLoadBalancingStrategy": rewrite_load_balancing,
    "MeshAccessLog": rewrite_telemetry,
    "MeshTrace": rewrite_telemetry,
    "MeshMetric": rewrite_telemetry,
}


def rewrite(document: Document, kind: Kind, *, mtls_meshes: frozenset[str], lenient: bool = False) -> Rewritten | None:
    """Rewrite 2.14's spellings in a document; None when there are none. For the options see `Rewriting`."""
    family = _BY_KIND.get(kind.name, rewrite_policy if kind.policy else None)
    if family is None:
        return None
    rewriting = Rewriting(document, mtls_meshes=mtls_meshes, lenient=lenient)
    family(rewriting)
    return rewriting.result()
