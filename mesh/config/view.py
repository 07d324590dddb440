"""MeshView: all that the configuration of one mesh's proxies is made from, at one moment. Values only."""

from collections.abc import Mapping

import attrs

from mesh.config.holding import EVERYTHING, Holding
from mesh.model.departure import Departure
from mesh.resources.dataplane import Dataplane, Inbound, InboundState
from mesh.resources.mesh_service import ServicePort
from mesh.resources.resource import DEFAULT_ZONE, DISPLAY_NAME, WORKLOAD, ZONE, Resource


@attrs.frozen(kw_only=True)
class DataplaneState:
    """A proxy that takes part: its Dataplane, what it reported of its inbounds since (`{inbound's name: ready}`), if it stays.

    `holding`: what its sidecar has live of it.
    """

    resource: Resource
    inbound_ready: Mapping[str, bool] = attrs.field(factory=dict)
    departure: Departure = Departure.STAYING
    holding: Holding = EVERYTHING

    @property
    def dataplane(self) -> Dataplane:
        return self.resource.spec_as(Dataplane)

    @property
    def zone(self) -> str:
        return self.resource.labels.get(ZONE, DEFAULT_ZONE)

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels as selectors see them."""
        return {DISPLAY_NAME: self.resource.display_name, **self.resource.labels}

    @property
    def workload(self) -> str:
        return self.resource.labels.get(WORKLOAD, "")

    def is_ready(self, inbound: Inbound) -> bool:
        """Does the inbound take requests? One that never reported is as its Dataplane says."""
        return inbound.state is InboundState.READY and self.inbound_ready.get(inbound.name, True)


@attrs.frozen(kw_only=True)
class MeshView:
    """One mesh. Resources of other meshes do not count; Dataplanes among `resources` are those that were written, live or not.

    `dataplanes` is `{name: state}` of the live proxies, `trust` is `{trust domain: root certificates (PEM)}`,
    `known_ports` is `{service: ports}` of services that stay known while none of their Dataplanes is left, `vips` is
    `{(kind, name): IP address}`, what an earlier index or another control plane has given out (`ServiceIndex.vips`). `secured`
    are the MeshServices that have been secured: a proxy of theirs without a certificate does not bring back plaintext.
    """

    mesh: str
    resources: tuple[Resource, ...] = ()
    dataplanes: Mapping[str, DataplaneState] = attrs.field(factory=dict)
    trust: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    known_ports: Mapping[str, tuple[ServicePort, ...]] = attrs.field(factory=dict)
    vips: Mapping[tuple[str, str], str] = attrs.field(factory=dict)
    secured: Mapping[str, None] = attrs.field(factory=dict)
