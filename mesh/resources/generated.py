"""Kinds that only the control plane writes: Workload, and the insights, which are about what it observed."""

import attrs

from mesh.resources.resource import Kind
from mesh.resources.schema import Record


@attrs.frozen(kw_only=True)
class Workload:
    """All Dataplanes with one `kuma.io/workload` label; what is counted of them stands in its status."""


WORKLOAD = Kind(
    name="Workload",
    path="workloads",
    short="wl",
    generated=True,
    spec=Record({}, build=lambda _: Workload()),
)


def _insight(name: str, *, path: str, short: str, mesh_scoped: bool = True) -> Kind:
    return Kind(
        name=name,
        path=path,
        short=short,
        mesh_scoped=mesh_scoped,
        inline=True,
        generated=True,
        spec=Record({}, extensible=True),
    )


DATAPLANE_INSIGHT = _insight("DataplaneInsight", path="dataplane-insights", short="dpi")
MESH_INSIGHT = _insight("MeshInsight", path="mesh-insights", short="mi", mesh_scoped=False)
SERVICE_INSIGHT = _insight("ServiceInsight", path="service-insights", short="si")
ZONE_INSIGHT = _insight("ZoneInsight", path="zone-insights", short="zi", mesh_scoped=False)
