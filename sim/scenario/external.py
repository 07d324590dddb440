"""Services outside the mesh: no sidecar of their own, found by a host name, called through a MeshExternalService.

`external: api.example.com` on a service, or `external: {name: api.example.com, ttl: 30s}`. Its instances are hosts like others
(they can be killed, slowed, scaled); the name's addresses are those of the instances that were started and not stopped. The
MeshExternalService is made unless the scenario brings one of the service's name.
"""

from collections.abc import Iterable

from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys
from sim.scenario.topology import External, Service

TTL_S = 30.0
_NAME_MAX = 253


def read_external(cursor: Cursor, service: str, calls: bool) -> External:
    """Read it. `calls`: the service calls others, which needs a sidecar."""
    if calls:
        cursor.refuse(f"'{service}' calls others, which needs a sidecar", "external services call nobody")
    if not isinstance(cursor.value, dict):
        return External(hostname=_hostname(cursor))
    entries = cursor.mapping(keys("external"), required_keys("external"))
    return External(
        hostname=_hostname(entries["name"]) if "name" in entries else "",
        ttl_s=entries["ttl"].span() if "ttl" in entries else TTL_S,
    )


def external_resources(services: Iterable[Service], resources: Iterable[Resource], mesh: str) -> tuple[Resource, ...]:
    """Return a MeshExternalService for each external service that has none among `resources`."""
    there = {resource.name for resource in resources if resource.kind == "MeshExternalService"}
    # An empty host name was refused when it was read.
    missing = [s for s in services if s.external is not None and s.external.hostname and s.name not in there]
    return tuple(load_resource(_document(service, mesh), file="external services") for service in missing)


def _document(service: Service, mesh: str) -> dict[str, object]:
    assert service.external is not None
    port = service.kind.port
    return {
        "type": "MeshExternalService",
        "name": service.name,
        "mesh": mesh,
        "spec": {
            "match": {"type": "HostnameGenerator", "port": port, "protocol": service.kind.protocol.value},
            "endpoints": [{"address": service.external.hostname, "port": port}],
        },
    }


def _hostname(cursor: Cursor) -> str:
    """Read a name of DNS with at least one dot, so that it cannot be taken for a host of the scenario."""
    text = cursor.text()
    labels = text.split(".")
    good = all(
        label.replace("-", "").isalnum() and 0 < len(label) <= 63 and label.strip("-") == label for label in labels
    )
    if text and not (good and len(labels) > 1 and len(text) <= _NAME_MAX and text.isascii() and text == text.lower()):
        cursor.refuse(f"'{text}' is not a host name", "for example api.example.com")
        return ""
    return text
