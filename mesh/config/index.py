"""MeshIndex: a view of a mesh, looked through once, from which each proxy's configuration is built on its own."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TypeVar

import attrs

from mesh.config.grouping import Groups
from mesh.config.identities import Identity, Unfit, best_first, identity_of
from mesh.config.outbound_routes import OutboundRoutes
from mesh.config.outbounds import Outbounds
from mesh.config.policies import PolicyIndex
from mesh.config.reach import Callers
from mesh.config.route_reach import RouteReach
from mesh.config.selection import Carriers
from mesh.config.service_index import ServiceIndex
from mesh.config.services import MESH_SERVICE, Service, ServiceKey
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.mesh_trust import MeshTrust

IdentityByName = Mapping[str, Identity | Unfit | None]
K = TypeVar("K")


@attrs.frozen(eq=False, kw_only=True)
class Delta:
    """What two indexes have of their own: what came, went or became another. It may name more than that, never less."""

    proxies: Mapping[str, None]  # by another Dataplane, readiness or identity
    services: Mapping[ServiceKey, None]


class _Mark:
    """Tells indexes apart without keeping them."""


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
    outbounds: OutboundRoutes
    route_reach: RouteReach
    _delta: Delta
    _origin: _Mark | None  # of the index that `_delta` is against
    _mark: _Mark = attrs.field(factory=_Mark, init=False)

    @classmethod
    def of(
        cls, view: MeshView, *, previous: "MeshIndex | None" = None, moved: Iterable[str] | None = None
    ) -> "MeshIndex":
        """Look through a view; what `previous` knows and the view has left as it was is kept.

        `moved` names the proxies whose states may be other than in the view of `previous`; None: any of them.
        """
        before = previous if previous is not None and previous.view.mesh == view.mesh else None
        groups = _groups(view, before)
        policies = _policies(view, before)
        changed = _changed(view, before, moved)
        identity_by_name, renamed = _identities(view, groups, before, changed)
        services, services_changed = (before.services if before else ServiceIndex()).updated(
            view, groups, identity_by_name, {**changed, **renamed}
        )
        others = _other_dataplanes(changed, before)
        return cls(
            view=view,
            groups=groups,
            policies=policies,
            identity_by_name=identity_by_name,
            services=services,
            trust=_trust(view, groups, before),
            callers=(before.callers if before else Callers()).updated(
                {name: None if state is None else state.dataplane for name, state in others.items()}
            ),
            outbounds=_outbounds(view, policies, before),
            route_reach=(before.route_reach if before else RouteReach()).over(policies),
            proxies=(before.proxies if before else Carriers()).updated(
                {name: None if state is None else state.labels for name, state in others.items()}
            ),
            delta=Delta(proxies={**dict.fromkeys(changed), **renamed}, services=services_changed),
            origin=before._mark if before else None,
        )

    def with_trust(self, trust: Mapping[str, tuple[str, ...]]) -> "MeshIndex":
        """Return the index of the same view with this trust."""
        view = attrs.evolve(self.view, trust=trust)
        return attrs.evolve(self, view=view, trust=_joined(trust, self.groups))

    def since(self, before: "MeshIndex") -> Delta:
        """Return how this index differs from another one of the mesh; cheap when it was made from that one."""
        if self._origin is before._mark:
            return self._delta
        return Delta(
            proxies=_differing(before.view.dataplanes, self.view.dataplanes)
            | _differing(before.identity_by_name, self.identity_by_name),
            services=_differing(before.services.by_key, self.services.by_key),
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


def _outbounds(view: MeshView, policies: PolicyIndex, before: MeshIndex | None) -> OutboundRoutes:
    if before is None:
        return OutboundRoutes(Outbounds(view.mesh, policies))
    return before.outbounds.over(before.outbounds.outbounds.over(policies))


def _changed(view: MeshView, before: MeshIndex | None, moved: Iterable[str] | None) -> dict[str, DataplaneState | None]:
    """Return the proxies with another state than before, and those that left (None)."""
    now, known = view.dataplanes, before.view.dataplanes if before else {}
    if now is known:
        return {}
    names = {**now, **known} if moved is None or before is None else dict.fromkeys(moved)
    return {name: now.get(name) for name in names if now.get(name) is not known.get(name)}


def _other_dataplanes(
    changed: Mapping[str, DataplaneState | None], before: MeshIndex | None
) -> dict[str, DataplaneState | None]:
    """Return those of the changed proxies that have another Dataplane, rather than another readiness."""
    known = before.view.dataplanes if before else {}
    return {
        name: state
        for name, state in changed.items()
        if state is None or name not in known or known[name].resource is not state.resource
    }


def _identities(
    view: MeshView, groups: Groups, before: MeshIndex | None, changed: Mapping[str, DataplaneState | None]
) -> tuple[IdentityByName, dict[str, None]]:
    """Return who holds which identity, and for whom that is another one than before."""
    written = groups.of_kind("MeshIdentity")
    known = before.identity_by_name if before else {}
    due: Mapping[str, DataplaneState | None] = changed
    if before is None or before.groups.of_kind("MeshIdentity") is not written:
        due = {**view.dataplanes, **changed}
    identities = best_first(written.values())
    by_name = dict(known)
    renamed: dict[str, None] = {}
    for name, state in due.items():
        if state is None:
            by_name.pop(name, None)
            continue
        identity = identity_of(state, identities, mesh=view.mesh)
        # An equal one stays the object that it was: who compares indexes by their objects finds what is noted here.
        if name not in known or known[name] != identity:
            by_name[name] = identity
            renamed[name] = None
    return by_name, renamed


def _differing(before: Mapping[K, object], after: Mapping[K, object]) -> dict[K, None]:
    return {key: None for key in {**before, **after} if before.get(key) is not after.get(key)}


def _trust(view: MeshView, groups: Groups, before: MeshIndex | None) -> Mapping[str, tuple[str, ...]]:
    kept = before is not None and before.view.trust is view.trust
    if before is not None and kept and before.groups.of_kind("MeshTrust") is groups.of_kind("MeshTrust"):
        return before.trust
    return _joined(view.trust, groups)


def _joined(given: Mapping[str, tuple[str, ...]], groups: Groups) -> dict[str, tuple[str, ...]]:
    """Join root certificates by trust domain, each once: those given first, then those of the MeshTrusts."""
    roots_by_domain = {domain: list(roots) for domain, roots in given.items()}
    for resource in groups.of_kind("MeshTrust").values():
        trust = resource.spec_as(MeshTrust)
        roots_by_domain.setdefault(trust.trust_domain, []).extend(trust.roots_pem)
    return {domain: tuple(dict.fromkeys(roots)) for domain, roots in sorted(roots_by_domain.items())}
