"""2.14's MeshService and MeshTrust: tags as selectors and identities, and where a trust came from."""

from mesh.resources.legacy.references import labels_of_tags
from mesh.resources.legacy.rewriting import Rewriting


def rewrite_mesh_service(rewriting: Rewriting) -> None:
    """Rewrite selectors by tags to labels, and identities by service tag to 2.14's SPIFFE IDs."""
    path = ("spec", "selector", "dataplaneTags")
    labels = labels_of_tags(rewriting.at(path))
    if labels is not None and len(rewriting.mapping(path[:-1])) == 1:
        rewriting.take(path)
        rewriting.put((*path[:-1], "dataplaneLabels"), {"matchLabels": labels}, origin=path)
        rewriting.warn(
            path, "'dataplaneTags' is gone since Kuma 3.0", "rewritten: dataplaneLabels: {matchLabels: {...}}"
        )
    for index, identity in enumerate(rewriting.sequence(("spec", "identities"))):
        place = ("spec", "identities", index)
        if isinstance(identity, dict) and identity.get("type") == "ServiceTag":
            value = f"spiffe://{rewriting.mesh}/{identity.get('value', '')}"
            rewriting.put((*place, "type"), "SpiffeID", origin=(*place, "type"))
            rewriting.put((*place, "value"), value, origin=(*place, "value"))
            replacement = f"rewritten: {{type: SpiffeID, value: {value}}}"
            rewriting.warn((*place, "type"), "type ServiceTag is gone since Kuma 3.0", replacement)


def rewrite_mesh_trust(rewriting: Rewriting) -> None:
    """Leave out where a trust came from, which the server writes."""
    if "origin" in rewriting.mapping(("spec",)):
        rewriting.take(("spec", "origin"))
        rewriting.warn(("spec", "origin"), "'origin' is gone since Kuma 3.0", "rewritten: left out; the status has it")
