"""Admission: may this sidecar join with this Dataplane? Pure: the token, the resource and the meshes decide.

A token is always needed. Whoever is refused learns why; only what an operator must change is refused for good.
A Dataplane without `networking` stands for the one that an operator has applied under its name.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import attrs

from mesh.discovery.messages import PROTOCOL_VERSION, DataplaneRequest, Hello, Refused, shorten
from mesh.identity.token_authority import TokenAuthority
from mesh.identity.tokens import DataplaneClaims
from mesh.model.errors import ConfigError, DeniedError, IdentityError
from mesh.model.names import ProxyId
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.resource import DEFAULT_MESH, WORKLOAD, ZONE, Resource

Kind = Literal["protocol", "token", "dataplane", "mesh", "replaced", "silent", "stopping"]


class NotAdmitted(DeniedError):
    """The sidecar's or its operator's: `refused` is what to answer."""

    def __init__(self, kind: Kind, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.refused = Refused(kind=kind, reason=shorten(reason), retryable=retryable)


@attrs.frozen(kw_only=True)
class Admitted:
    """Who came, proven by the token. `applied`: an operator wrote the Dataplane, the sidecar only its name."""

    proxy: ProxyId
    dataplane: Resource
    claims: DataplaneClaims
    applied: bool = False


@attrs.frozen(kw_only=True)
class Admission:
    """What decides. A Dataplane that names no zone gets `zone`; `find(mesh, name)` returns an applied one."""

    tokens: TokenAuthority
    meshes: Callable[[], Collection[str]]
    find: Callable[[str, str], Resource | None]
    zone: str

    def admit(self, hello: Hello, *, now: float) -> Admitted:
        """Check a Hello. `now`: seconds since the epoch. Raises: NotAdmitted."""
        _check_protocol(hello.protocol)
        if "networking" not in hello.dataplane:
            return self._admit_applied(hello.token, hello.dataplane, now)
        dataplane = self.with_zone(_read(hello.dataplane))
        claims = self._verify(hello.token, dataplane, now)
        _check_servable(dataplane, retryable=False)
        return Admitted(proxy=ProxyId(dataplane.mesh, dataplane.name), dataplane=dataplane, claims=claims)

    def describe(self, request: DataplaneRequest, *, now: float) -> Resource:
        """Return the Dataplane that a sidecar asks for by its name. Raises: NotAdmitted."""
        _check_protocol(request.protocol)
        reference = {"mesh": request.mesh, "name": request.name}
        return self._admit_applied(request.token, reference, now).dataplane

    def with_zone(self, dataplane: Resource) -> Resource:
        """Return a Dataplane that names its zone."""
        if ZONE in dataplane.labels:
            return dataplane
        return attrs.evolve(dataplane, labels={**dataplane.labels, ZONE: self.zone})

    def _admit_applied(self, token: str, reference: Mapping[str, Any], now: float) -> Admitted:
        mesh, name = str(reference.get("mesh", DEFAULT_MESH)), str(reference.get("name", ""))
        found = self.find(mesh, name)
        if found is None:
            self._verify_name(token, mesh, name, now)
            # It may be applied later: the sidecar asks again.
            raise NotAdmitted("dataplane", f"no Dataplane {name!r} was applied to mesh {mesh!r}", retryable=True)
        dataplane = self.with_zone(found)
        claims = self._verify(token, dataplane, now)
        _check_servable(dataplane, retryable=True)  # A better one may be applied.
        return Admitted(proxy=ProxyId(mesh, name), dataplane=dataplane, claims=claims, applied=True)

    def _verify(self, token: str, dataplane: Resource, now: float) -> DataplaneClaims:
        mesh = dataplane.mesh
        try:
            return self.tokens.verify_dataplane(
                token,
                now=now,
                mesh=mesh,
                name=dataplane.name,
                workload=dataplane.labels.get(WORKLOAD, ""),
                tags=dataplane.labels,
            )
        except IdentityError as error:
            raise self._refusal(mesh, error) from error

    def _verify_name(self, token: str, mesh: str, name: str, now: float) -> None:
        try:
            claims = self.tokens.verify_dataplane_of(mesh, token, now=now)
        except IdentityError as error:
            raise self._refusal(mesh, error) from error
        if claims.name and claims.name != name:
            raise NotAdmitted("token", f"the dataplane token is for dataplane {claims.name!r}, not {name!r}")

    def _refusal(self, mesh: str, error: IdentityError) -> NotAdmitted:
        # Each mesh has keys of its own, so a mistyped name looks like a wrong token. It is no secret that it is none:
        # the names of meshes stand in every TLS handshake.
        if mesh not in self.meshes():
            return NotAdmitted("mesh", f"there is no mesh {mesh!r}")
        return NotAdmitted("token", str(error))


def _check_protocol(spoken: int) -> None:
    if spoken != PROTOCOL_VERSION:
        raise NotAdmitted(
            "protocol", f"the sidecar speaks version {spoken}, the control plane version {PROTOCOL_VERSION}"
        )


def _check_servable(dataplane: Resource, *, retryable: bool) -> None:
    """Refuse what no sidecar that is called directly can serve. Kuma's examples have it, and redirect the traffic."""
    for inbound in dataplane.spec_as(Dataplane).colliding_with_applications():
        reason = (
            f"inbound {inbound.name!r}: the sidecar and its application would both listen on {inbound.address};"
            " set servicePort, or serviceAddress: 127.0.0.1"
        )
        raise NotAdmitted("dataplane", reason, retryable=retryable)


def _read(document: dict[str, Any]) -> Resource:
    try:
        resource = load_resource(document, file="the sidecar's Dataplane")
    except ConfigError as error:
        raise NotAdmitted("dataplane", str(error)) from error
    if resource.kind != "Dataplane":
        raise NotAdmitted("dataplane", f"a sidecar joins with a Dataplane, not with a {resource.kind}")
    return resource
