"""MeshIndex: a view of a mesh, looked through once, from which each proxy's configuration is built on its own."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import attrs

from mesh.config.grouping import Groups
from mesh.config.identities import Identity, Unfit, best_first, identity_of
from mesh.config.outbounds import Outbounds
from mesh.config.policies import PolicyIndex
from mesh.config.reach import Callers
from mesh.config.selection import Carriers
from mesh.config.service_index import ServiceIndex
from mesh.config.services import MESH_SERVICE, Service
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.mesh_trust import MeshTrust

IdentityByName = Mapping[str, Identity | Unfit | None]


@attrs.frozen(eq=False, kw_only=True)
class MeshIndex:
    """What is known of a mesh. `identity_by_name` and the view's states are by proxy."""

    view: MeshView
    groups: Groups
    policies: PolicyIndex
    identity_by_name: IdentityByName
    services: ServiceIndex
    trust: Mapping[str, tuple[str, ...]]  # {trust domain: root certificates (PEM)}
    callers: Callers
    proxies: Carriers[str]  # by their labels
    outbounds: Outbounds

    @classmethod
    def of(cls, view: MeshView, *, previous: "MeshIndex | None" = None) -> "MeshIndex":
        """Look through a view; what `previous` knows and the view has left as it was is kept."""
        before = previous if previous is not None and previous.view.mesh == view.mesh else None
        groups = _groups(view, before)
        identity_by_name = _identities(view, groups, before)
        services = before.services if before else ServiceIndex()
        changed = _changed(view, before)
        policies = _policies(view, before)
        return cls(
            view=view,
            groups=groups,
            policies=policies,
            identity_by_name=identity_by_name,
            services=services.updated(view, groups, identity_by_name),
            trust=_joined(view.trust, (r.spec_as(MeshTrust) for r in groups.of_kind("MeshTrust").values())),
            callers=(before.callers if before else Callers()).updated(
                {name: None if state is None else state.dataplane for name, state in changed.items()}
            ),
            outbounds=before.outbounds.over(policies) if before else Outbounds(view.mesh, policies),
            proxies=(before.proxies if before else Carriers()).updated(
                {name: None if state is None else state.labels for name, state in changed.items()}
            ),
        )

    @cached_property
    def service_by_name(self) -> Mapping[str, Service]:
        """The MeshServices, sorted."""
        return {name: service for (kind, name), service in self.services.by_key.items() if kind == MESH_SERVICE}

    def state(self, proxy: str) -> DataplaneState:
        """Return a proxy's state. Raises: KeyError when it is not in the view."""
        return self.view.dataplanes[proxy]


def _groups(view: MeshView, before: MeshIndex | None) -> Groups:
    if before is not None and before.view.resources is view.resources:
        return before.groups
    return Groups.of(view.resources, mesh=view.mesh, previous=before.groups if before else None)


def _policies(view: MeshView, before: MeshIndex | None) -> PolicyIndex:
    if before is not None and before.view.resources is view.resources:
        return before.policies
    return PolicyIndex.of(view.resources, mesh=view.mesh, previous=before.policies if before else None)


def _identities(view: MeshView, groups: Groups, before: MeshIndex | None) -> IdentityByName:
    written = groups.of_kind("MeshIdentity")
    kept: IdentityByName = {}
    if before is not None and before.groups.of_kind("MeshIdentity") is written:
        known = before.view.dataplanes
        kept = {
            name: before.identity_by_name[name]
            for name, state in view.dataplanes.items()
            if name in known and known[name].resource is state.resource
        }
    identities = best_first(written.values())
    return {
        name: kept[name] if name in kept else identity_of(state, identities, mesh=view.mesh)
        for name, state in view.dataplanes.items()
    }


def _changed(view: MeshView, before: MeshIndex | None) -> dict[str, DataplaneState | None]:
    """Return the proxies whose Dataplane is new or another one, and those that left (None)."""
    known = before.view.dataplanes if before else {}
    changed: dict[str, DataplaneState | None] = {
        name: state
        for name, state in view.dataplanes.items()
        if name not in known or known[name].resource is not state.resource
    }
    return changed | {name: None for name in known if name not in view.dataplanes}


def _joined(given: Mapping[str, tuple[str, ...]], written: Iterable[MeshTrust]) -> dict[str, tuple[str, ...]]:
    """Join root certificates by trust domain, each once, those given first."""
    roots_by_domain = {domain: list(roots) for domain, roots in given.items()}
    for trust in written:
        roots_by_domain.setdefault(trust.trust_domain, []).extend(trust.roots_pem)
    return {domain: tuple(dict.fromkeys(roots)) for domain, roots in sorted(roots_by_domain.items())}
