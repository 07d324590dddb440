"""Who may call whom, and where plaintext is forbidden, judged from the resources as written: simple, and no code of the mesh's.

A change of resources takes a while to reach a proxy, and a proxy that is cut off goes on with what it has. So a request is
forbidden only where every version of the resources forbids it that the proxy may have run when the request began.
What a record cannot show (the server name that a peer asked for) counts in favour of the request.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from mesh.resources.resource import Resource
from sim.workload.deployment import dataplane_of

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

_SETTLE_S = 2.0  # The control plane looks at changes together, a little later; before that everybody seems up to date.
_DISPLAY_NAME, _EFFECT, _ORIGIN, _NAMESPACE = (
    "kuma.io/display-name",
    "kuma.io/effect",
    "kuma.io/origin",
    "k8s.kuma.io/namespace",
)
_KINDS = ("MeshIdentity", "MeshTLS", "MeshTrafficPermission")


@attrs.frozen(kw_only=True)
class Callee:
    """A proxy as policies select it."""

    labels: Mapping[str, str]
    inbounds: tuple[str, ...]  # what its ports are called by


@attrs.define(eq=False)
class Ruling:
    """One version of the resources."""

    since_s: float
    all: tuple[Resource, ...]
    mesh: str
    _by_kind: dict[str, list[Mapping[str, Any]]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for resource in self.all:
            active = resource.mesh == self.mesh and resource.labels.get(_EFFECT) != "shadow"
            if active and resource.kind in _KINDS:
                self._by_kind.setdefault(resource.kind, []).append(resource.written)

    def has_identity(self, callee: Callee) -> bool:
        """Does a MeshIdentity select the proxy? Without one it speaks plaintext and enforces no permissions."""
        for document in self._by_kind.get("MeshIdentity", ()):
            selector = (document.get("spec", {}).get("selector") or {}).get("dataplane") or {}
            labels = selector.get("matchLabels")
            if labels is not None and _has(callee, labels):
                return True
        return False

    def is_strict(self, callee: Callee) -> bool:
        """Is plaintext forbidden at the proxy, whatever order its policies count in?"""
        if not self.has_identity(callee):
            return False
        modes = [
            (rule.get("default") or {}).get("mode")
            for document in self._by_kind.get("MeshTLS", ())
            if _may_select(document, callee)
            for rule in document["spec"].get("rules", ())
        ]
        return "Permissive" not in modes

    def permits(self, callee: Callee, peer: str) -> bool:
        """May a peer call the proxy? Any deny is a no, else any allow is a yes, else no."""
        if not self.has_identity(callee):
            return True
        allowed = False
        for document in self._by_kind.get("MeshTrafficPermission", ()):
            if not _may_select(document, callee):
                continue
            for rule in document["spec"].get("rules", ()):
                default = rule.get("default") or {}
                if _certainly_selects(document, callee) and _means(default.get("deny"), peer, certainly=True):
                    return False
                for key in ("allow", "allowWithShadowDeny"):
                    allowed = allowed or _means(default.get(key), peer, certainly=False)
        return allowed


class Rulings:
    """The versions of the resources of one run, and which of them a proxy may go by."""

    def __init__(self, mesh: "SimulatedMesh") -> None:
        self._mesh = mesh
        self.versions = [Ruling(since_s=-_SETTLE_S, all=mesh.resources, mesh=mesh.scenario.mesh)]
        self._reached: dict[str, list[tuple[float, int]]] = {}  # by proxy: from when on it certainly runs which version
        self._callees: dict[str, Callee] = {}
        self._looked_s = 0.0

    def look(self, now_s: float) -> None:
        """Take in a change of the resources, and who has heard of it by now."""
        mesh, newest = self._mesh, len(self.versions) - 1
        if mesh.resources is not self.versions[-1].all:
            self.versions.append(Ruling(since_s=self._looked_s, all=mesh.resources, mesh=mesh.scenario.mesh))
        elif newest and now_s >= self.versions[-1].since_s + _SETTLE_S:
            self._look_who_has_it(newest, now_s)
        self._looked_s = now_s

    def callee(self, member: str) -> Callee | None:
        """Return what is known of a proxy; None: it was gone before anybody looked."""
        known = self._callees.get(member)
        if known is None:
            found = self._mesh.members.get(member)
            if found is None:
                return None
            document = dataplane_of(self._mesh.scenario, found.what, address=found.host.address)
            labels = {_DISPLAY_NAME: member, **document["labels"]}
            inbounds = tuple(str(each["port"]) for each in document["networking"]["inbound"])
            known = self._callees[member] = Callee(labels=labels, inbounds=inbounds)
        return known

    def possible(self, member: str, at_s: float) -> list[Ruling]:
        """Return the versions of which one was in force at a proxy when a request began."""
        if len(self.versions) == 1:
            return self.versions
        first = max((index for since_s, index in self._reached.get(member, ()) if since_s <= at_s), default=0)
        return [ruling for ruling in self.versions[first:] if ruling.since_s <= at_s] or [self.versions[first]]

    def _look_who_has_it(self, newest: int, now_s: float) -> None:
        mesh = self._mesh
        late = [name for name in mesh.members if (self._reached.get(name) or [(0.0, 0)])[-1][1] != newest]
        if not late or mesh.control_plane is None or not self._taken_over():
            return
        status = mesh.status()
        for name in late:
            if name in status and status[name].converged:
                self._reached.setdefault(name, []).append((now_s, newest))

    def _taken_over(self) -> bool:
        """Does the control plane go by the newest version?"""
        assert self._mesh.control_plane is not None
        known = {
            resource.key: resource for resource in self._mesh.control_plane.catalogue.of_mesh(self._mesh.scenario.mesh)
        }
        wanted = {r.key: r for r in self._mesh.resources if r.kind in _KINDS}
        there = {key: r for key, r in known.items() if r.kind in _KINDS}
        return wanted.keys() == there.keys() and all(there[key].spec == r.spec for key, r in wanted.items())


def _has(callee: Callee, labels: Mapping[str, str]) -> bool:
    return all(callee.labels.get(key) == value for key, value in labels.items())


def _may_select(document: Mapping[str, Any], callee: Callee) -> bool:
    target = document["spec"].get("targetRef") or {"kind": "Mesh"}
    return target.get("kind") == "Mesh" or _has(callee, target.get("labels") or {})


def _certainly_selects(document: Mapping[str, Any], callee: Callee) -> bool:
    """Is it sure that a denial counts? One of another zone or namespace, or for one of several ports, may not."""
    labels, section = document.get("labels") or {}, (document["spec"].get("targetRef") or {}).get("sectionName")
    if _ORIGIN in labels or _NAMESPACE in labels:
        return False
    return not section or callee.inbounds == (section,)


def _means(matches: Iterable[Mapping[str, Any]] | None, peer: str, *, certainly: bool) -> bool:
    for match in matches or ():
        who = match.get("spiffeID")
        if certainly and "sni" in match:
            continue
        if who is None or (peer == who["value"] if who["type"] == "Exact" else peer.startswith(who["value"])):
            return True
    return False
