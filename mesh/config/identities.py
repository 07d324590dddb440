"""Which identity each proxy holds: the MeshIdentity that selects it best, its SPIFFE ID by that one's templates. Pure."""

from collections.abc import Iterable

import attrs

from mesh.config.view import DataplaneState
from mesh.model.errors import ConfigError
from mesh.model.names import SpiffeId
from mesh.resources.mesh_identity import MeshIdentity, Subject, render
from mesh.resources.resource import Resource


@attrs.frozen(kw_only=True)
class Identity:
    """A proxy's identity, and how long its certificates live in seconds."""

    spiffe_id: str
    certificate_lifetime_s: float
    creates_trust: bool = True  # False: whoever is to trust it gets its roots from a MeshTrust that somebody writes


@attrs.frozen(kw_only=True)
class Unfit:
    """A proxy that is to hold an identity, and why it cannot."""

    reason: str


def best_first(identities: Iterable[Resource]) -> tuple[Resource, ...]:
    """Sort MeshIdentities: most labels first, then by name. The first that selects a proxy is its own."""

    def key(resource: Resource) -> tuple[int, str]:
        return (-len(resource.spec_as(MeshIdentity).match_labels or ()), resource.display_name)

    return tuple(sorted(identities, key=key))


def identity_of(state: DataplaneState, identities: tuple[Resource, ...], *, mesh: str) -> Identity | Unfit | None:
    """Return the identity of a proxy, from `identities` in the order of `best_first`; None: none selects it."""
    for resource in identities:
        spec = resource.spec_as(MeshIdentity)
        if spec.match_labels is not None and state.resource.matches_labels(spec.match_labels):
            return _identity(state, resource.name, spec, mesh)
    return None


def _identity(state: DataplaneState, name: str, spec: MeshIdentity, mesh: str) -> Identity | Unfit:
    labels = state.resource.labels
    subject = Subject(mesh=mesh, zone=state.zone, workload=state.workload, labels=labels)
    try:
        uri = f"spiffe://{render(spec.trust_domain, subject)}{render(spec.path, subject)}"
        spiffe_id = str(SpiffeId.parse(uri))
    except ValueError as error:
        return Unfit(reason=f"MeshIdentity '{name}' selects it, but {error}")
    except ConfigError as error:
        return Unfit(reason=f"MeshIdentity '{name}' selects it, but {error.violations[0].message}")
    return Identity(
        spiffe_id=spiffe_id, certificate_lifetime_s=spec.certificate_lifetime_s, creates_trust=spec.creates_trust
    )
