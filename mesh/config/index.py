"""MeshIndex: a view of a mesh, looked through once, from which each proxy's configuration is built on its own."""

from collections.abc import Mapping

import attrs

from mesh.config.identities import Identity, Unfit, best_first, identity_of
from mesh.config.policies import PolicyIndex
from mesh.config.services import Service, resolve, services_of
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.mesh_trust import MeshTrust


@attrs.frozen(eq=False, kw_only=True)
class MeshIndex:
    """What is known of a mesh. `service_by_name` is sorted; `identity_by_name` and the view's states are by proxy."""

    view: MeshView
    policies: PolicyIndex
    identity_by_name: Mapping[str, Identity | Unfit | None]
    service_by_name: Mapping[str, Service]
    trust: Mapping[str, tuple[str, ...]]  # {trust domain: root certificates (PEM)}

    @classmethod
    def of(cls, view: MeshView, *, previous: "MeshIndex | None" = None) -> "MeshIndex":
        """Look through a view; what `previous` knows of the same resources is kept."""
        kept = previous is not None and previous.view.mesh == view.mesh and previous.view.resources == view.resources
        policies = previous.policies if kept and previous else PolicyIndex.of(view.resources, mesh=view.mesh)
        own = [resource for resource in view.resources if resource.mesh == view.mesh]
        identities = best_first(resource for resource in own if resource.kind == "MeshIdentity")
        identity_by_name = {
            name: identity_of(state, identities, mesh=view.mesh) for name, state in view.dataplanes.items()
        }
        written = [resource.spec_as(MeshTrust) for resource in own if resource.kind == "MeshTrust"]
        return cls(
            view=view,
            policies=policies,
            identity_by_name=identity_by_name,
            service_by_name=services_of(view, identity_by_name),
            trust=_joined(view.trust, written),
        )

    def state(self, proxy: str) -> DataplaneState:
        """Return a proxy's state. Raises: KeyError when it is not in the view."""
        return self.view.dataplanes[proxy]


# Stands for every service in `dependencies`.
ANY_SERVICE = "*"


def dependencies(index: MeshIndex, proxy: str) -> tuple[str, ...]:
    """Return the services that a proxy's configuration depends on, sorted, whether they exist or not.

    A reference by labels may come to mean any service: it adds `*`.
    """
    names = {outbound.backend.name or ANY_SERVICE: None for outbound in index.state(proxy).dataplane.outbounds}
    return tuple(sorted(names))


def unresolved(index: MeshIndex, proxy: str) -> tuple[str, ...]:
    """Say which outbounds of a proxy lead nowhere, since there is no such service or port; they have no listener."""
    lines = []
    for outbound in index.state(proxy).dataplane.outbounds:
        backend = outbound.backend
        service = resolve(backend, index.service_by_name)
        wanted = backend.name or ", ".join(f"{key}={value}" for key, value in sorted(backend.labels.items()))
        if service is None:
            lines.append(f"{outbound.address}: there is no MeshService {wanted}")
        elif backend.port not in service.port_by_number:
            lines.append(f"{outbound.address}: MeshService {service.name} has no port {backend.port}")
    return tuple(lines)


def affected(before: MeshIndex, after: MeshIndex) -> tuple[str, ...]:
    """Return the proxies, sorted, whose configuration may differ between two indexes; all others keep theirs.

    New proxies are among them, those that left are not.
    """
    old, new = before.view, after.view
    if old.mesh != new.mesh or old.resources != new.resources or before.trust != after.trust:
        return tuple(sorted(new.dataplanes))
    names = [*before.service_by_name, *(name for name in after.service_by_name if name not in before.service_by_name)]
    changed = {name for name in names if before.service_by_name.get(name) != after.service_by_name.get(name)}
    if changed:
        changed.add(ANY_SERVICE)
    return tuple(
        name
        for name in sorted(new.dataplanes)
        if old.dataplanes.get(name) != new.dataplanes[name] or not changed.isdisjoint(dependencies(after, name))
    )


def _joined(given: Mapping[str, tuple[str, ...]], written: list[MeshTrust]) -> dict[str, tuple[str, ...]]:
    """Join root certificates by trust domain, each once, those given first."""
    roots_by_domain = {domain: list(roots) for domain, roots in given.items()}
    for trust in written:
        roots_by_domain.setdefault(trust.trust_domain, []).extend(trust.roots_pem)
    return {domain: tuple(dict.fromkeys(roots)) for domain, roots in sorted(roots_by_domain.items())}
