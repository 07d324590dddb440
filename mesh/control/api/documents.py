"""Documents: resources as the API shows them: in Kuma's universal form, with times, KRI and status, secrets left out."""

from collections.abc import Sequence
from typing import Any

import attrs

from mesh.config.service_status import dataplanes_behind, service_status
from mesh.config.services import MESH_SERVICE, SERVICE_KINDS
from mesh.control.access import Caller, Role
from mesh.control.api.endpoint import Call
from mesh.control.api.known import workloads
from mesh.control.api.kri import kri_of
from mesh.control.api.ports import ProxyStatus
from mesh.control.api.redaction import without_secrets
from mesh.control.registry import Presence
from mesh.control.store.values import Stored
from mesh.model.departure import Departure
from mesh.model.names import ProxyId
from mesh.resources.dataplane import Dataplane
from mesh.resources.resource import Resource
from mesh.resources.writing import kubernetes, universal

ONLINE, OFFLINE, DEGRADED = "Online", "Offline", "PartiallyDegraded"


def meta_of(resource: Resource) -> dict[str, Any]:
    """Name a resource: Kuma's Meta."""
    return {"type": resource.kind, "mesh": resource.mesh, "name": resource.name, "labels": dict(resource.labels)}


def proxy_of(resource: Resource) -> ProxyId:
    """Return the proxy of a Dataplane."""
    return ProxyId(resource.mesh, resource.name)


def for_kubernetes(resource: Resource, caller: Caller) -> dict[str, Any]:
    """Write a resource as an object of Kubernetes."""
    return _visible(kubernetes(resource), caller)


def _visible(document: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Leave out private keys that were written into a resource: they are the administrators'."""
    visible: dict[str, Any] = document if caller.role is Role.ADMIN else without_secrets(document)
    return visible


@attrs.define(eq=False)
class Documents:
    """Writes the documents of one reply; what they share is looked up once."""

    call: Call
    _statuses: dict[ProxyId, ProxyStatus] | None = None
    _workloads: dict[str, dict[str, list[Resource]]] = attrs.Factory(dict)

    def of(self, stored: Stored) -> dict[str, Any]:
        """Write a resource as the caller may see it."""
        resource = stored.resource
        document = {
            **universal(resource, created=stored.created, modified=stored.modified or stored.created),
            "kri": kri_of(resource),
        }
        status = self._status(resource)
        if status is not None:
            document["status"] = status
        return _visible(document, self.call.caller)

    def status_of(self, dataplane: Resource) -> ProxyStatus | None:
        """Return how it stands with the proxy of a Dataplane."""
        if self._statuses is None:
            self._statuses = {status.proxy: status for status in self.call.plane.status()}
        return self._statuses.get(proxy_of(dataplane))

    def health_of(self, dataplane: Resource) -> str:
        """Return Kuma's word for how a proxy is."""
        status = self.status_of(dataplane)
        if status is None or status.presence is not Presence.CONNECTED:
            return OFFLINE
        if status.departure is not Departure.STAYING:
            return DEGRADED
        ready = dict(status.inbounds)
        inbounds = dataplane.spec_as(Dataplane).inbounds
        return ONLINE if all(ready.get(inbound.name, True) for inbound in inbounds) else DEGRADED

    def _status(self, resource: Resource) -> dict[str, Any] | None:
        if resource.kind == "Workload":
            if resource.mesh not in self._workloads:
                self._workloads[resource.mesh] = workloads(self.call.plane, resource.mesh)
            return {"dataplaneProxies": self._proxies(self._workloads[resource.mesh].get(resource.name, []))}
        if resource.kind not in SERVICE_KINDS:
            return None
        index = self.call.plane.index_of(resource.mesh)
        service = index.services.by_key.get((resource.kind, resource.name)) if index is not None else None
        if index is None or service is None:
            return None
        status = service_status(index, service)
        if service.kind == MESH_SERVICE:
            status["dataplaneProxies"] = self._proxies(dataplanes_behind(index, service))
        return status

    def _proxies(self, members: Sequence[Resource]) -> dict[str, int]:
        health = [self.health_of(member) for member in members]
        connected = len(health) - health.count(OFFLINE)
        return {"connected": connected, "healthy": health.count(ONLINE), "total": len(health)}
