"""What one resource cannot know about itself: whether a change fits all the others. Pure.

Operators are also kept from what is not theirs: what the control plane generates, its own keys, what files hold.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from mesh.control.initial_resources import CONTROL_PLANE_CA, MESH_CA
from mesh.control.store.values import Delete, Key, Put, Stored
from mesh.control.write_plan import Change, is_managed_by_files, same
from mesh.identity.token_authority import TokenKind, signing_key_of
from mesh.identity.tokens import SigningKey
from mesh.model.errors import IdentityError, Violation
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.secret import Secret

NAMES_SHOWN_MAX = 5


@attrs.frozen(kw_only=True)
class Standing:
    """What there is before a change. `dataplanes` are the names of the live ones, by mesh."""

    stored: Mapping[Key, Stored]
    dataplanes: Mapping[str, Sequence[str]]


def check_changes(
    changes: Sequence[Change], standing: Standing, *, by_operator: bool, from_files: bool
) -> Iterator[Violation]:
    """Say everything that is wrong with a set of changes that are to happen at once."""
    after = _meshes_after(changes, standing)
    seen: set[Key] = set()
    for change in changes:
        key = change.key
        if key in seen:
            yield _violation(change, "name", "is changed twice in one step")
        seen.add(key)
        if isinstance(change, Put) and key[1] and key[1] not in after and not from_files:
            known = ", ".join(sorted(after)) or "none"
            yield _violation(change, "mesh", f"there is no mesh '{key[1]}'", f"known: {known}; create it first")
        if isinstance(change, Delete) and key[0] == "Mesh":
            yield from _mesh_deletion(change, changes, standing)
        if isinstance(change, Put):
            yield from _secret(change)
        elif by_operator:
            yield from _last_key(change, changes, standing)
        if by_operator or from_files:
            yield from _ownership(change, standing, from_files=from_files)


def _meshes_after(changes: Sequence[Change], standing: Standing) -> set[str]:
    meshes = {name for kind, _, name in standing.stored if kind == "Mesh"}
    for change in changes:
        kind, _, name = change.key
        if kind == "Mesh":
            (meshes.add if isinstance(change, Put) else meshes.discard)(name)
    return meshes


def _mesh_deletion(change: Delete, changes: Sequence[Change], standing: Standing) -> Iterator[Violation]:
    """A mesh with Dataplanes stays; everything else in it goes with it. Source: Kuma."""
    name = change.key[2]
    going = {other.key for other in changes if isinstance(other, Delete)}
    stored = [key[2] for key in standing.stored if key[:2] == ("Dataplane", name) and key not in going]
    present = sorted({*stored, *standing.dataplanes.get(name, ())})
    if present:
        shown = ", ".join(present[:NAMES_SHOWN_MAX])
        more = f" and {len(present) - NAMES_SHOWN_MAX} more" if len(present) > NAMES_SHOWN_MAX else ""
        yield _violation(change, "name", f"there are Dataplanes in it: {shown}{more}", "stop their sidecars first")


def _ownership(change: Change, standing: Standing, *, from_files: bool) -> Iterator[Violation]:
    kind, key = change.key[0], change.key
    present = standing.stored.get(key)
    if KIND_BY_NAME[kind].generated:
        yield _violation(change, "type", f"a {kind} is written by the control plane alone")
    elif _is_own_secret(key) and not _is_unchanged(change, present):
        yield _violation(change, "name", "it is the control plane's own certificate authority, and not to be changed")
    elif not from_files and _is_held_by_files(present) and not _is_unchanged(change, present):
        hint = "change it there and send SIGHUP, or take it out of them"
        yield _violation(change, "name", "it is read from files of the control plane's host (--resources)", hint)


def _is_own_secret(key: Key) -> bool:
    kind, _, name = key
    return (kind == "Secret" and name.startswith(MESH_CA)) or (kind == "GlobalSecret" and name == CONTROL_PLANE_CA)


def _is_held_by_files(present: Stored | None) -> bool:
    return present is not None and is_managed_by_files(present.resource)


def _is_unchanged(change: Change, present: Stored | None) -> bool:
    return isinstance(change, Put) and present is not None and same(change.resource, present.resource)


def _secret(change: Put) -> Iterator[Violation]:
    """A signing key that cannot be read would lock out whoever holds a token, and only later."""
    kind, _, name = change.resource.key
    if kind not in ("Secret", "GlobalSecret"):
        return
    if any(name.startswith(f"{token.value}-signing-key-") for token in TokenKind):
        held = signing_key_of(change.key)
        if held is None:
            hint = "GlobalSecret user-token-signing-key-2, Secret dataplane-token-signing-key-MESH-2 in that mesh"
            yield _violation(change, "name", "is not where a signing key is looked for: it ends with its serial", hint)
            return
        try:
            SigningKey.decode(held[1], change.resource.spec_as(Secret).data)
        except IdentityError as error:
            yield _violation(change, "data", str(error), "make one with mesh generate signing-key")


def _last_key(change: Delete, changes: Sequence[Change], standing: Standing) -> Iterator[Violation]:
    """Without a key nobody's token is good any more, the administrator's included."""
    held = signing_key_of(change.key)
    if held is None or change.key not in standing.stored:
        return
    mesh = change.key[1]
    going = {other.key for other in changes if isinstance(other, Delete)}
    coming = [other.key for other in changes if isinstance(other, Put)]
    left = [key for key in (*standing.stored, *coming) if key not in going and key[1] == mesh]
    kinds_left = {found[0] for key in left if (found := signing_key_of(key)) is not None}
    if held[0] not in kinds_left and ("Mesh", "", mesh) not in going:
        hint = "add the next one first: mesh generate signing-key"
        yield _violation(change, "name", f"it is the last signing key for {held[0].value.replace('-', ' ')}s", hint)


def _violation(change: Change, path: str, message: str, hint: str = "") -> Violation:
    kind, mesh, name = change.key
    whole = f"{kind} '{name}'" + (f" of mesh '{mesh}'" if mesh else "")
    verb = "" if isinstance(change, Put) else "cannot be deleted: "
    message = f"{whole}: {verb}{message}"
    if isinstance(change, Delete):
        return Violation(message=message, path=path, hint=hint)
    source = change.resource.source
    return Violation(message=message, path=path, hint=hint, file=source.file, line=source.line, column=source.column)
