"""Preview: what a write would change in the configuration of each proxy, without writing it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from mesh.config.builder import build_snapshot
from mesh.config.dependencies import affected
from mesh.config.index import MeshIndex
from mesh.config.snapshot import Part, encode_part, redacted
from mesh.model.errors import ConfigError
from mesh.model.names import ProxyId
from mesh.resources.resource import Resource

NOT_BUILT = "configuration"  # the part that stands for all where a proxy would get none


@attrs.frozen(kw_only=True)
class PartChange:
    """What would become of one part: `op` is add, replace or remove; `before` and `after` are JSON values."""

    part: str
    op: str
    before: Any = None
    after: Any = None


@attrs.frozen(kw_only=True)
class ProxyPreview:
    """What would change for one proxy."""

    proxy: ProxyId
    changes: tuple[PartChange, ...]


@attrs.frozen(kw_only=True)
class Preview:
    """The proxies that a write would change, sorted by mesh and name."""

    proxies: tuple[ProxyPreview, ...] = ()


@attrs.frozen(kw_only=True)
class _NotBuilt:
    """What stands for all parts of a proxy that would get none."""

    error: str


def preview_mesh(index: MeshIndex, resources: tuple[Resource, ...]) -> Iterable[ProxyPreview]:
    """Compare the configurations of a mesh's proxies with what these resources would make of them."""
    after = MeshIndex.of(attrs.evolve(index.view, resources=resources), previous=index)
    for name in affected(index, after):
        changes = tuple(_differences(_parts(index, name), _parts(after, name)))
        if changes:
            yield ProxyPreview(proxy=ProxyId(index.view.mesh, name), changes=changes)


def _parts(index: MeshIndex, proxy: str) -> Mapping[str, Part | _NotBuilt]:
    try:
        return build_snapshot(index, proxy).parts
    except ConfigError as error:
        return {NOT_BUILT: _NotBuilt(error=str(error))}


def _differences(before: Mapping[str, Part | _NotBuilt], after: Mapping[str, Part | _NotBuilt]) -> Iterable[PartChange]:
    for part in sorted({*before, *after}):
        old, new = before.get(part), after.get(part)
        # Proxies are pushed what is not the same when encoded; most parts are one object before and after.
        if old is new or (old is not None and new is not None and _encoded(old) == _encoded(new)):
            continue
        op = "add" if old is None else "remove" if new is None else "replace"
        shown_before, shown_after = _shown(old), _shown(new)
        if shown_before == shown_after:
            shown_after = {**shown_after, "secret": "another one"}
        yield PartChange(part=part, op=op, before=shown_before, after=shown_after)


def _encoded(part: Part | _NotBuilt) -> bytes:
    return part.error.encode() if isinstance(part, _NotBuilt) else encode_part(part)


def _shown(part: Part | _NotBuilt | None) -> Any:
    """Return a part as it may be shown: without what came from Secrets, which whoever may preview may not read."""
    return msgspec.to_builtins(part if part is None or isinstance(part, _NotBuilt) else redacted(part))
