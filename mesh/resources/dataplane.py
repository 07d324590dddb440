"""Dataplane: one proxy, the ports on which it is called and the ports on which its application calls others.

Without transparent redirection the proxy and the application share a host, so that the application listens elsewhere:
on another port (`servicePort`) or another address (`serviceAddress`).
"""

import enum
from collections.abc import Mapping

import attrs

from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.resources.scalars import Integer, Text

PORT = Integer(min=1, max=65535)
HOST = Text(what="an IP address or a host name", pattern=r"[A-Za-z0-9._:-]+", size_max=253)
PORT_NAME = Text(what="a name of lower case letters, digits and '-'", pattern=r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class InboundState(enum.Enum):
    """Whether an inbound takes part."""

    READY = "Ready"
    NOT_READY = "NotReady"
    IGNORED = "Ignored"


@attrs.frozen(kw_only=True)
class ServiceProbe:
    """How the proxy asks its application whether it is ready: a TCP connect. Spans in seconds."""

    interval_s: float = 5.0
    timeout_s: float = 2.0
    unhealthy_threshold: int = 1
    healthy_threshold: int = 1


@attrs.frozen(kw_only=True)
class Inbound:
    """One port on which others reach the application."""

    address: Address
    application: Address
    name: str  # as written, or the port
    protocol: Protocol = Protocol.TCP
    state: InboundState = InboundState.READY
    probe: ServiceProbe | None = None

    @property
    def port(self) -> int:
        return self.address.port


@attrs.frozen(kw_only=True)
class BackendRef:
    """Which service of which kind, by name or by labels, and which of its ports."""

    kind: str = "MeshService"
    name: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    port: int


@attrs.frozen(kw_only=True)
class Outbound:
    """One port on which the application reaches a service."""

    address: Address
    backend: BackendRef


@attrs.frozen(kw_only=True)
class ReachableBackend:
    """Services of one kind that a proxy may reach, by name or labels; `port` None: on all their ports."""

    kind: str
    name: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    port: int | None = None


@attrs.frozen(kw_only=True)
class TransparentProxying:
    """How the proxy gets what was meant for others. `reachable_backends` None: it may reach every service."""

    redirect_port_inbound: int | None = None
    redirect_port_outbound: int | None = None
    direct_access_services: tuple[str, ...] = ()
    ip_family_mode: str = "UnSpecified"
    reachable_backends: tuple[ReachableBackend, ...] | None = None


@attrs.frozen(kw_only=True)
class ZoneListener:
    """One port of a zone's proxy, on which traffic enters (`ZoneIngress`) or leaves (`ZoneEgress`) the zone."""

    kind: str
    address: Address
    name: str = ""
    state: InboundState = InboundState.READY


@attrs.frozen(kw_only=True)
class Dataplane:
    """One proxy's networking. A proxy without inbounds only calls; `gateway`: for a gateway that is not the mesh's own."""

    address: str
    inbounds: tuple[Inbound, ...] = ()
    outbounds: tuple[Outbound, ...] = ()
    listeners: tuple[ZoneListener, ...] = ()
    gateway: bool = False
    transparent_proxying: TransparentProxying | None = None
    admin_port: int | None = None

    def colliding_with_applications(self) -> tuple[Inbound, ...]:
        """Return the inbounds at which proxy and application would listen on one address: no sidecar can serve them."""
        return tuple(inbound for inbound in self.inbounds if inbound.application == inbound.address)
