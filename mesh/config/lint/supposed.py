"""What is supposed where nothing real is there: a proxy, callee or inbound with just what a policy says of it."""

from collections.abc import Mapping

import attrs

from mesh.config.lint.callers import Callee
from mesh.config.matching import MESH, SERVICE, Destination
from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.resources.dataplane import Dataplane, Inbound
from mesh.resources.policy import Policy
from mesh.resources.resource import DISPLAY_NAME, Resource
from mesh.resources.target_ref import TargetRef

_ADDRESS = Address("192.0.2.1", 8080)  # Source: RFC 5737, for documentation.


@attrs.frozen
class _Labels:
    """A service or route of which only some labels are known."""

    labels: Mapping[str, str]

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        return all(self.labels.get(key) == value for key, value in labels.items())


def supposed_callee(target: TargetRef) -> Callee:
    """Return an HTTP service (or a route) that an item is about, of which nobody knows how many endpoints it has."""
    port = int(target.section) if target.section.isdecimal() else 1
    destination = Destination(
        service=_Labels(target.labels),
        kind=SERVICE if target.kind == MESH else target.kind,
        port=port,
        port_name="" if target.section.isdecimal() else target.section,
    )
    name = target.labels.get(DISPLAY_NAME, "any service")
    return Callee(name=name, destination=destination, protocol=Protocol.HTTP, hosts=None)


def supposed_inbound(target: TargetRef) -> Inbound:
    """Return an HTTP inbound that a policy is about."""
    return Inbound(
        address=_ADDRESS, application=_ADDRESS, name=target.section or str(_ADDRESS.port), protocol=Protocol.HTTP
    )


def supposed_dataplane(policy: Resource, inbound: Inbound | None = None) -> Resource:
    """Return a proxy that a policy selects."""
    target = policy.spec_as(Policy).target
    spec = Dataplane(address=_ADDRESS.host, inbounds=(inbound,) if inbound else ())
    return Resource(kind="Dataplane", name="any-proxy", mesh=policy.mesh, labels=target.labels, spec=spec)
