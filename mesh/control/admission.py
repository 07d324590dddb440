"""Admission: may this sidecar join with this Dataplane? Pure: the token, the resource and the meshes decide.

A token is always needed. Whoever is refused learns why; only what an operator must change is refused for good.
"""

from collections.abc import Collection
from typing import Literal

import attrs

from mesh.discovery.messages import PROTOCOL_VERSION, Hello, Refused, shorten
from mesh.identity.tokens import DataplaneClaims, TokenVerifier
from mesh.model.errors import ConfigError, DeniedError, IdentityError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource
from mesh.resources.resource import WORKLOAD, ZONE, Resource

Kind = Literal["protocol", "token", "dataplane", "mesh", "replaced", "silent", "stopping"]


class NotAdmitted(DeniedError):
    """The sidecar's or its operator's: `refused` is what to answer."""

    def __init__(self, kind: Kind, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.refused = Refused(kind=kind, reason=shorten(reason), retryable=retryable)


@attrs.frozen(kw_only=True)
class Admitted:
    """Who came, proven by the token."""

    proxy: ProxyId
    dataplane: Resource
    claims: DataplaneClaims


def admit(hello: Hello, *, verifier: TokenVerifier, meshes: Collection[str], zone: str, now: float) -> Admitted:
    """Check a Hello; a Dataplane that names no zone gets `zone`. `now`: seconds since the epoch. Raises: NotAdmitted."""
    if hello.protocol != PROTOCOL_VERSION:
        raise NotAdmitted(
            "protocol", f"the sidecar speaks version {hello.protocol}, the control plane version {PROTOCOL_VERSION}"
        )
    dataplane = _dataplane(hello, zone)
    try:
        claims = verifier.verify(
            hello.token,
            now=now,
            mesh=dataplane.mesh,
            name=dataplane.name,
            workload=dataplane.labels.get(WORKLOAD, ""),
            tags=dataplane.labels,
        )
    except IdentityError as error:
        raise NotAdmitted("token", str(error)) from error
    # After the token: who cannot prove anything does not learn which meshes there are.
    if dataplane.mesh not in meshes:
        raise NotAdmitted("mesh", f"there is no mesh {dataplane.mesh!r}; known: {', '.join(sorted(meshes))}")
    return Admitted(proxy=ProxyId(dataplane.mesh, dataplane.name), dataplane=dataplane, claims=claims)


def _dataplane(hello: Hello, zone: str) -> Resource:
    try:
        resource = load_resource(hello.dataplane, file="the sidecar's Dataplane")
    except ConfigError as error:
        raise NotAdmitted("dataplane", str(error)) from error
    if resource.kind != "Dataplane":
        raise NotAdmitted("dataplane", f"a sidecar joins with a Dataplane, not with a {resource.kind}")
    if ZONE in resource.labels:
        return resource
    return attrs.evolve(resource, labels={**resource.labels, ZONE: zone})
