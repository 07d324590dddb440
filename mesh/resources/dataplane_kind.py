"""The kind Dataplane: what may be written in one, and how that becomes the values of `mesh.resources.dataplane`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mesh.model.names import Address
from mesh.model.traffic import Protocol
from mesh.resources.dataplane import (
    HOST,
    PORT,
    PORT_NAME,
    BackendRef,
    Dataplane,
    Inbound,
    InboundState,
    Outbound,
    ReachableBackend,
    ServiceProbe,
    TransparentProxying,
    ZoneListener,
)
from mesh.resources.resource import DNS_LABEL, LABELS, WORKLOAD, Kind
from mesh.resources.scalars import Boolean, Duration, Integer, OneOf, Text
from mesh.resources.schema import UNREDIRECTED, Field, ListOf, Problem, Record, later
from mesh.resources.target_ref import SERVICES

_STATE = OneOf(tuple(state.value for state in InboundState))
_INBOUND = Record(
    {
        "port": Field(PORT, required=True),
        "servicePort": PORT,
        "serviceAddress": HOST,
        "address": HOST,
        "name": PORT_NAME,
        "protocol": OneOf(tuple(protocol.value for protocol in Protocol)),
        "state": _STATE,
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


_BACKEND = {"kind": Field(OneOf(SERVICES), required=True), "name": Field(Text()), "labels": Field(LABELS)}
_BACKEND_REF = Record(
    {**_BACKEND, "port": Field(PORT, required=True)},
    check=_one_backend,
    build=lambda ref: BackendRef(
        kind=ref["kind"], name=ref.get("name", ""), labels=ref.get("labels", {}), port=ref["port"]
    ),
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


_REACHABLE = Record(
    {**_BACKEND, "port": PORT},
    check=_one_backend,
    build=lambda ref: ReachableBackend(
        kind=ref["kind"], name=ref.get("name", ""), labels=ref.get("labels", {}), port=ref.get("port")
    ),
)
_TRANSPARENT = Record(
    {
        "redirectPortInbound": Field(PORT, dormant=UNREDIRECTED),
        "redirectPortOutbound": Field(PORT, dormant=UNREDIRECTED),
        "directAccessServices": Field(ListOf(Text(what="a service, or '*'")), dormant=UNREDIRECTED),
        "ipFamilyMode": Field(OneOf(("UnSpecified", "DualStack", "IPv4", "IPv6")), dormant=UNREDIRECTED),
        "reachableBackends": Record({"refs": ListOf(_REACHABLE)}, build=lambda backends: backends.get("refs", ())),
    },
    build=lambda record: TransparentProxying(
        redirect_port_inbound=record.get("redirectPortInbound"),
        redirect_port_outbound=record.get("redirectPortOutbound"),
        direct_access_services=record.get("directAccessServices", ()),
        ip_family_mode=record.get("ipFamilyMode", "UnSpecified"),
        reachable_backends=record.get("reachableBackends"),
    ),
    retired={"reachableServices": "write reachableBackends: {refs: [{kind: MeshService, labels: {...}}]}"},
)
_LISTENER = Record(
    {
        "type": Field(OneOf(("ZoneIngress", "ZoneEgress")), required=True),
        "address": HOST,
        "port": Field(PORT, required=True),
        "name": PORT_NAME,
        "state": _STATE,
    }
)
_GATEWAY = Record(
    {
        "type": OneOf(
            ("DELEGATED",), unsupported={"BUILTIN": "is gone: put a gateway of your own behind a delegated one"}
        ),
        "tags": Record({}, what="an empty mapping: write labels on the Dataplane"),
    }
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


def _listener(entry: Mapping[str, Any], host: str) -> ZoneListener:
    return ZoneListener(
        kind=entry["type"],
        address=Address(entry.get("address", host), entry["port"]),
        name=entry.get("name", ""),
        state=InboundState(entry.get("state", "Ready")),
    )


def _networking(record: Mapping[str, Any]) -> Dataplane:
    host = record["address"]
    return Dataplane(
        address=host,
        inbounds=tuple(_inbound(entry, host) for entry in record.get("inbound", ())),
        outbounds=record.get("outbound", ()),
        listeners=tuple(_listener(entry, host) for entry in record.get("listeners", ())),
        gateway="gateway" in record,
        transparent_proxying=record.get("transparentProxying"),
        admin_port=record.get("admin", {}).get("port"),
    )


def _distinct(record: dict[str, Any]) -> Iterable[Problem]:
    """Find ports that two listeners would need."""
    dataplane = _networking(record)
    if dataplane.gateway and dataplane.inbounds:
        yield Problem(("gateway",), "'gateway' and 'inbound' exclude each other", "leave one of them out")
    colliding = dataplane.colliding_with_applications()
    owner_by_address: dict[Address, str] = {}
    names: dict[str, int] = {}
    for index, inbound in enumerate(dataplane.inbounds):
        path = ("inbound", index)
        if inbound in colliding:
            # Right where traffic is redirected, as Kuma's examples assume; a sidecar that is called directly refuses it.
            hint = "set servicePort, or serviceAddress: 127.0.0.1"
            message = f"the proxy and its application would both listen on {inbound.address}"
            yield Problem(path, message, hint, warning=True)
        if inbound.name in names:
            yield Problem(path, f"inbound '{inbound.name}' is there twice", "names of inbounds are distinct")
        names[inbound.name] = index
    listeners = [(("inbound", n), inbound.address) for n, inbound in enumerate(dataplane.inbounds)]
    listeners += [(("listeners", n), listener.address) for n, listener in enumerate(dataplane.listeners)]
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
                        "listeners": later(ListOf(_LISTENER)),
                        "transparentProxying": _TRANSPARENT,
                        "gateway": _GATEWAY,
                        "admin": Record({"port": PORT}),
                    },
                    check=_distinct,
                    build=_networking,
                    retired={"advertisedAddress": "write the address on which others reach the proxy as 'address'"},
                    what="the proxy's networking",
                ),
                required=True,
            )
        },
        check=_workload_is_a_name,
        build=lambda record: record["networking"],
        retired={
            "probes": "leave it out: applications are probed at their own ports",
            "metrics": "write a MeshMetric",
        },
    ),
)
