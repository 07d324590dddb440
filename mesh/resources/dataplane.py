"""Dataplane: one proxy, the ports on which it is called and the ports on which its application calls others.

Without transparent redirection the proxy and the application share a host, so that the application listens elsewhere:
on another port (`servicePort`) or another address (`serviceAddress`).
"""

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.resources.resource import DNS_LABEL, LABELS, WORKLOAD, Kind
from mesh.resources.scalars import Boolean, Duration, Integer, OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record

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
    """Which service, by name or by labels, and which of its ports."""

    name: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    port: int


@attrs.frozen(kw_only=True)
class Outbound:
    """One port on which the application reaches a service."""

    address: Address
    backend: BackendRef


@attrs.frozen(kw_only=True)
class Dataplane:
    """One proxy's networking. A proxy without inbounds only calls."""

    address: str
    inbounds: tuple[Inbound, ...] = ()
    outbounds: tuple[Outbound, ...] = ()
    admin_port: int | None = None


_INBOUND = Record(
    {
        "port": Field(PORT, required=True),
        "servicePort": PORT,
        "serviceAddress": HOST,
        "address": HOST,
        "name": PORT_NAME,
        "protocol": OneOf(tuple(protocol.value for protocol in Protocol)),
        "state": OneOf(tuple(state.value for state in InboundState)),
        "health": Record({"ready": Field(Boolean(), required=True)}),
        "serviceProbe": Record(
            {
                "interval": Duration(positive=True),
                "timeout": Duration(positive=True),
                "unhealthyThreshold": Integer(min=1),
                "healthyThreshold": Integer(min=1),
                "tcp": Record({}),
            },
            build=lambda probe: ServiceProbe(
                interval_s=probe.get("interval", 5.0),
                timeout_s=probe.get("timeout", 2.0),
                unhealthy_threshold=probe.get("unhealthyThreshold", 1),
                healthy_threshold=probe.get("healthyThreshold", 1),
            ),
        ),
    },
    retired={"tags": "write labels on the Dataplane; kuma.io/service is now labels: {kuma.io/workload: NAME}"},
)


def _one_backend(ref: dict[str, Any]) -> Iterable[Problem]:
    if bool(ref.get("name")) == bool(ref.get("labels")):
        yield Problem((), "needs either 'name' or 'labels'")


_BACKEND_REF = Record(
    {
        "kind": Field(
            OneOf(
                ("MeshService",),
                unsupported=dict.fromkeys(("MeshExternalService", "MeshMultiZoneService"), "is not supported yet"),
            ),
            required=True,
        ),
        "name": Text(),
        "labels": LABELS,
        "port": Field(PORT, required=True),
    },
    check=_one_backend,
    build=lambda ref: BackendRef(name=ref.get("name", ""), labels=ref.get("labels", {}), port=ref["port"]),
)

_OUTBOUND = Record(
    {
        "address": Field(HOST, default="127.0.0.1"),
        "port": Field(PORT, required=True),
        "backendRef": Field(_BACKEND_REF, required=True),
    },
    build=lambda entry: Outbound(address=Address(entry["address"], entry["port"]), backend=entry["backendRef"]),
    retired={"tags": "write backendRef: {kind: MeshService, name: NAME, port: PORT}"},
)


def _inbound(entry: Mapping[str, Any], host: str) -> Inbound:
    address = Address(entry.get("address", host), entry["port"])
    state = InboundState(entry.get("state", "Ready"))
    if state is InboundState.READY and not entry.get("health", {"ready": True})["ready"]:
        state = InboundState.NOT_READY
    return Inbound(
        address=address,
        application=Address(entry.get("serviceAddress", address.host), entry.get("servicePort", address.port)),
        name=entry.get("name", str(entry["port"])),
        protocol=Protocol(entry.get("protocol", "tcp")),
        state=state,
        probe=entry.get("serviceProbe"),
    )


def _networking(record: Mapping[str, Any]) -> Dataplane:
    host = record["address"]
    return Dataplane(
        address=host,
        inbounds=tuple(_inbound(entry, host) for entry in record.get("inbound", ())),
        outbounds=record.get("outbound", ()),
        admin_port=record.get("admin", {}).get("port"),
    )


def _distinct(record: dict[str, Any]) -> Iterable[Problem]:
    """Find ports that two listeners would need."""
    dataplane = _networking(record)
    owner_by_address: dict[Address, str] = {}
    names: dict[str, int] = {}
    for index, inbound in enumerate(dataplane.inbounds):
        path = ("inbound", index)
        if inbound.application == inbound.address:
            hint = "set servicePort, or serviceAddress: 127.0.0.1"
            yield Problem(path, f"the proxy and its application would both listen on {inbound.address}", hint)
        if inbound.name in names:
            yield Problem(path, f"inbound '{inbound.name}' is there twice", "names of inbounds are distinct")
        names[inbound.name] = index
    listeners = [(("inbound", n), inbound.address) for n, inbound in enumerate(dataplane.inbounds)]
    listeners += [(("outbound", n), outbound.address) for n, outbound in enumerate(dataplane.outbounds)]
    for (side, index), address in listeners:
        if address in owner_by_address:
            yield Problem((side, index), f"{address} is taken by {owner_by_address[address]}", "choose another port")
        owner_by_address.setdefault(address, f"{side}[{index}]")


def _workload_is_a_name(record: dict[str, Any]) -> Iterable[Problem]:
    workload = record.get("labels", {}).get(WORKLOAD)
    # It becomes the name of a service and part of SPIFFE IDs.
    if workload is not None and not re.fullmatch(DNS_LABEL.pattern, workload):
        yield Problem(("labels", WORKLOAD), f"expects {DNS_LABEL.what}, got '{workload}'")


DATAPLANE = Kind(
    name="Dataplane",
    path="dataplanes",
    short="dp",
    inline=True,
    spec=Record(
        {
            "networking": Field(
                Record(
                    {
                        "address": Field(HOST, required=True),
                        "inbound": ListOf(_INBOUND),
                        "outbound": ListOf(_OUTBOUND),
                        "admin": Record({"port": PORT}),
                    },
                    check=_distinct,
                    build=_networking,
                    retired={"advertisedAddress": "write the address on which others reach the proxy as 'address'"},
                    not_yet=("listeners", "transparentProxying", "gateway"),
                    what="the proxy's networking",
                ),
                required=True,
            )
        },
        check=_workload_is_a_name,
        build=lambda record: record["networking"],
    ),
)
