"""KRI: Kuma's resource identifiers, `kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`; empty parts stay empty."""

from mesh.resources.registry import KIND_BY_NAME, KIND_BY_SHORT
from mesh.resources.resource import NAMESPACE, ZONE, Kind, Resource


def kri_of(resource: Resource, section: str = "") -> str:
    """Write the identifier of a resource, or of one of its sections (a port's name, a rule)."""
    short = KIND_BY_NAME[resource.kind].short
    labels = resource.labels
    parts = (short, resource.mesh, labels.get(ZONE, ""), labels.get(NAMESPACE, ""), resource.display_name, section)
    return "_".join(("kri", *parts))


def kind_of_kri(kri: str) -> Kind | None:
    """Return the kind of resource that an identifier names; None when it is not one.

    The rest of it is compared, not taken apart: names may contain underscores.
    """
    parts = kri.split("_", 2)
    if len(parts) < 3 or parts[0] != "kri" or kri.count("_") < 6:
        return None
    return KIND_BY_SHORT.get(parts[1])
