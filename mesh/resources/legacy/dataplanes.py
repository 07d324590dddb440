"""2.14's Dataplane: tags of inbounds and gateways, which are labels now, and services that may be reached by name."""

from typing import Any

from mesh.resources.documents import Path
from mesh.resources.legacy.references import PROTOCOL, SERVICE
from mesh.resources.legacy.rewriting import Rewriting
from mesh.resources.resource import DISPLAY_NAME, WORKLOAD

_NETWORKING: Path = ("networking",)
# Protocols of 2.14 that sidecars pass on as bytes, as they did then.
_AS_BYTES = ("kafka", "mysql", "tls", "unknown")


def rewrite_dataplane(rewriting: Rewriting) -> None:
    """Rewrite tags to labels."""
    ambiguous = _ambiguous(rewriting)
    for index, inbound in enumerate(rewriting.sequence(("networking", "inbound"))):
        if isinstance(inbound, dict):
            path = ("networking", "inbound", index)
            _tags(rewriting, (*path, "tags"), ambiguous)
            _protocol(rewriting, (*path, "protocol"))
    if rewriting.mapping(("networking", "gateway", "tags")):
        _tags(rewriting, ("networking", "gateway", "tags"))
    _outbounds(rewriting)
    _reachable(rewriting, ("networking", "transparentProxying"))


def _ambiguous(rewriting: Rewriting) -> frozenset[str]:
    """Return the tags that say different things of different inbounds: no label of the Dataplane can say both.

    Not the service: it becomes the proxy's identity, which nobody may guess.
    """
    values_by_tag: dict[str, set[str]] = {}
    for inbound in rewriting.sequence(("networking", "inbound")):
        tags = inbound.get("tags") if isinstance(inbound, dict) else None
        for tag, value in tags.items() if isinstance(tags, dict) else ():
            values_by_tag.setdefault(tag, set()).add(str(value))
    return frozenset(tag for tag, values in values_by_tag.items() if len(values) > 1 and tag not in (SERVICE, PROTOCOL))


def _tags(rewriting: Rewriting, path: Path, ambiguous: frozenset[str] = frozenset()) -> None:
    tags = rewriting.at(path)
    if not isinstance(tags, dict):
        return
    moved: dict[str, Any] = {}
    for tag, value in tags.items():
        if tag == PROTOCOL and "inbound" in path:
            rewriting.mapping(path[:-1]).setdefault("protocol", value)
        elif tag == DISPLAY_NAME:
            # On an inbound it named the service. As a label it is the proxy's own name, by which policies select it.
            rewriting.warn((*path, tag), f"'{tag}' of an inbound is not the proxy's", "rewritten: left out")
        elif tag in ambiguous:
            message = f"'{tag}' differs between inbounds, and labels are the whole proxy's"
            hint = "leave it out; policies that selected the inbound by it can name it by sectionName"
            decided = tag in rewriting.mapping(("labels",))
            (rewriting.warn if decided or rewriting.lenient else rewriting.refuse)((*path, tag), message, hint)
        else:
            moved[WORKLOAD if tag == SERVICE else tag] = value
    if moved and not isinstance(rewriting.data.get("labels"), dict):
        rewriting.data["labels"] = {}
    labels = rewriting.mapping(("labels",))
    for label, value in moved.items():
        tag = SERVICE if label == WORKLOAD else label
        if labels.get(label, value) != value:
            hint = "a Dataplane has one value of each label; write a MeshService for each of its ports"
            rewriting.refuse((*path, tag), f"'{tag}' differs from the Dataplane's {label}: {labels[label]}", hint)
        elif label not in labels:
            rewriting.put(("labels", label), value, origin=(*path, tag))
    rewriting.take(path)
    shown = ", ".join(f"{label}: {value}" for label, value in moved.items())
    replacement = f"rewritten: labels: {{{shown}}}" if moved else "rewritten: left out"
    rewriting.warn(
        path, "'tags' are gone since Kuma 3.0", f"{replacement}, and protocol" if PROTOCOL in tags else replacement
    )


def _protocol(rewriting: Rewriting, path: Path) -> None:
    protocol = rewriting.at(path)
    if protocol in _AS_BYTES:
        rewriting.put(path, "tcp", origin=path)
        rewriting.warn(path, f"protocol {protocol} is passed on as bytes", "rewritten: protocol: tcp")


def _outbounds(rewriting: Rewriting) -> None:
    """Say what outbounds by tags lack: which of the service's ports was meant, 2.14 found out by itself."""
    for index, outbound in enumerate(rewriting.sequence(("networking", "outbound"))):
        if not isinstance(outbound, dict) or "tags" not in outbound or "backendRef" in outbound:
            continue
        path = ("networking", "outbound", index)
        tags = rewriting.take((*path, "tags"))
        service = tags.get(SERVICE, "NAME") if isinstance(tags, dict) else "NAME"
        rewriting.refuse(
            (*path, "tags"),
            "'tags' are gone since Kuma 3.0, and do not say which port of the service is meant",
            f"write backendRef: {{kind: MeshService, name: {service}, port: PORT}}",
        )
        outbound["backendRef"] = {"kind": "MeshService", "name": "name", "port": 1}  # So that the rest can be checked.


def _reachable(rewriting: Rewriting, path: Path) -> None:
    place = (*path, "reachableServices")
    services = rewriting.at(place)
    if not isinstance(services, list) or not all(isinstance(service, str) for service in services):
        return
    if "reachableBackends" in rewriting.mapping(path) or any("_" in service for service in services):
        return
    rewriting.take(place)
    if "*" in services:
        rewriting.warn(place, "'reachableServices' is gone since Kuma 3.0", "rewritten: left out, which means all")
        return
    refs = [{"kind": "MeshService", "labels": {DISPLAY_NAME: service}} for service in services]
    rewriting.put((*path, "reachableBackends"), {"refs": refs}, origin=place)
    rewriting.warn(place, "'reachableServices' is gone since Kuma 3.0", "rewritten: reachableBackends, by display name")
