"""A mesh's resources by kind and name; a kind in which nothing has changed keeps the very mapping that it had. Pure."""

from collections.abc import Iterable, Mapping

import attrs

from mesh.resources.resource import Resource

ResourceByName = Mapping[str, Resource]

# Of the kinds of the whole installation, the ones that say something about each mesh.
_GLOBAL_KINDS = ("HostnameGenerator",)
_NONE: ResourceByName = {}


@attrs.frozen(eq=False)
class Groups:
    """`{kind: {name: resource}}`, names sorted."""

    _by_kind: Mapping[str, ResourceByName] = attrs.field(factory=dict)

    @classmethod
    def of(cls, resources: Iterable[Resource], *, mesh: str, previous: "Groups | None" = None) -> "Groups":
        found: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            if resource.mesh == mesh or resource.kind in _GLOBAL_KINDS:
                found.setdefault(resource.kind, {})[resource.name] = resource
        by_kind: dict[str, ResourceByName] = {}
        for kind in sorted(found):
            kept = previous.of_kind(kind) if previous else _NONE
            by_kind[kind] = (
                kept if _same(kept, found[kind]) else {name: found[kind][name] for name in sorted(found[kind])}
            )
        return cls(by_kind)

    def of_kind(self, kind: str) -> ResourceByName:
        return self._by_kind.get(kind, _NONE)

    def kinds(self) -> Iterable[str]:
        """Return the kinds of which there is a resource, sorted."""
        return self._by_kind


def changed_names(before: ResourceByName, after: ResourceByName) -> list[str]:
    """Return the names of the resources that were added, changed, made again or taken away, sorted."""
    if before is after:
        return []
    return sorted(name for name in {**before, **after} if not _equal(before.get(name), after.get(name)))


def _equal(before: Resource | None, after: Resource | None) -> bool:
    if before is None or after is None:
        return before is after
    # Of two services with the same labels the older one is meant.
    return before is after or (before == after and before.created == after.created)


def _same(before: ResourceByName, after: ResourceByName) -> bool:
    # What does not count for equality may still be asked for: when it was created, where it was written.
    return len(before) == len(after) and all(before.get(name) is resource for name, resource in after.items())
