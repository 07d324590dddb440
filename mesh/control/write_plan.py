"""What a write comes to, before it is written: what stays as it is, and what follows from it. Pure.

A new Mesh brings its first policies and key along; a Mesh that goes takes along all that is in it; what is the same
already is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from mesh.control.initial_resources import initial_policies, mesh_of_name, secret
from mesh.control.store.values import Delete, Key, Put, Stored
from mesh.identity.token_authority import TokenKind, signing_key_of, signing_key_secret
from mesh.resources.resource import Resource
from mesh.resources.writing import universal

MANAGED_BY = "kuma.io/managed-by"
FILES = "files"

Change = Put | Delete
_TO_MAKE = b"a signing key, to be made"
_SERVER_TIMES = ("creationTime", "modificationTime")


def is_managed_by_files(resource: Resource) -> bool:
    """Was this resource read from files of the control plane's host?"""
    return resource.labels.get(MANAGED_BY) == FILES


def managed_by_files(resource: Resource) -> Resource:
    """Return the resource with the label of what files hold."""
    return _with_labels(resource, {**resource.labels, MANAGED_BY: FILES})


def released(resource: Resource) -> Resource:
    """Return the resource without that label: what an export brought along is not the files' here."""
    if not is_managed_by_files(resource):
        return resource
    return _with_labels(resource, {key: value for key, value in resource.labels.items() if key != MANAGED_BY})


def same(ours: Resource, theirs: Resource) -> bool:
    """Do two resources say the same, however they were written?"""
    return _content(ours) == _content(theirs)


@attrs.frozen(kw_only=True)
class WritePlan:
    """`changes` is all there is to write; `places` says where each given change stands in it, None: nothing to do.

    `keys_to_make` names the Secrets among the changes whose signing key is made only when it is written: a plan needs none.
    """

    changes: tuple[Change, ...]
    places: tuple[int | None, ...]
    keys_to_make: frozenset[Key]


def plan_write(
    given: Sequence[Change],
    stored: Mapping[Key, Stored],
    *,
    makes_meshes: bool = False,
) -> WritePlan:
    """Work out what to write.

    `makes_meshes`: a mesh that something given belongs to is made as well, where nobody wrote it.
    """
    changes: list[Change] = []
    places: list[int | None] = []
    for change in given:
        done = _is_done(change, stored.get(change.key))
        places.append(None if done else len(changes))
        changes += [] if done else [change]
    keys = {change.key for change in given}
    brought = [*given, *(_missing_meshes(given, stored) if makes_meshes else [])]
    followers = [*brought[len(given) :], *_followers(brought, stored)]
    followers = [follower for follower in followers if follower.key not in keys]
    to_make = frozenset(one.key for one in followers if isinstance(one, Put) and signing_key_of(one.key) is not None)
    return WritePlan(changes=(*changes, *followers), places=tuple(places), keys_to_make=to_make)


def _missing_meshes(given: Sequence[Change], stored: Mapping[Key, Stored]) -> list[Change]:
    there = {change.key for change in given} | set(stored)
    names = {change.resource.mesh for change in given if isinstance(change, Put) and change.resource.mesh}
    return [_made(mesh_of_name(name), stored) for name in sorted(names) if ("Mesh", "", name) not in there]


def _is_done(change: Change, present: Stored | None) -> bool:
    if isinstance(change, Delete):
        return present is None and change.expected_version is None
    if present is None or change.expected_version not in (None, present.version):
        return False
    return same(change.resource, present.resource)


def _followers(given: Sequence[Change], stored: Mapping[Key, Stored]) -> list[Change]:
    followers: list[Change] = []
    for change in given:
        kind, _, name = key = change.key
        if kind != "Mesh":
            continue
        if isinstance(change, Put) and key not in stored:
            followers += [_made(policy, stored) for policy in initial_policies(change.resource)]
            key_secret = secret(signing_key_secret(TokenKind.DATAPLANE, 1, mesh=name), _TO_MAKE)
            followers.append(_made(key_secret, stored))
        elif isinstance(change, Delete):
            followers += [Delete(key=inner) for inner in sorted(stored) if inner[1] == name]
    return followers


def _made(resource: Resource, stored: Mapping[Key, Stored]) -> Put:
    """Write what comes with a mesh that is new as far as we know; not over what somebody has just made elsewhere."""
    present = stored.get(resource.key)
    return Put(resource=resource, expected_version=0 if present is None else present.version)


def _with_labels(resource: Resource, labels: dict[str, str]) -> Resource:
    return attrs.evolve(resource, labels=labels, written={**resource.written, "labels": dict(labels)})


def _content(resource: Resource) -> dict[str, Any]:
    return {name: value for name, value in universal(resource).items() if name not in _SERVER_TIMES}
