"""Access: who may do what through the API. Pure: caller, action and kind of resource decide; what is not granted is denied.

Three rights for people, by the groups in their token: administrators do everything; operators write resources but secrets, and
hand out dataplane tokens; everybody else with a good token views, without secrets. A dataplane token shows its own Dataplane
and nothing else; a zone token nothing: nothing of Kuma's takes one either. Without a token there is only the front page.
Deliberately tighter than Kuma's default, which lets anonymous callers write policies. Source: Kuma's names of groups.
"""

import enum
import json
import re
from collections.abc import Mapping

import attrs

from mesh.identity.tokens import DataplaneClaims
from mesh.resources.registry import KINDS
from mesh.resources.resource import WORKLOAD, Resource

ADMIN = "mesh-system:admin"
OPERATOR = "mesh-system:operator"
AUTHENTICATED = "mesh-system:authenticated"
UNAUTHENTICATED = "mesh-system:unauthenticated"

SECRET_KINDS = frozenset(kind.name for kind in KINDS if kind.confidential)


_PLAIN = re.compile(r"[\w.:/@+-]+")


class Action(enum.Enum):
    """What a request does; the value reads after "may not"."""

    INDEX = "see the front page"
    WHO_AM_I = "ask who they are"
    READ = "read"
    READ_OWN = "read what concerns one dataplane of"  # Also open to the Dataplane itself.
    WRITE = "write"
    DELETE = "delete"
    APPLY = "apply resources"  # Each resource is decided on again.
    READ_STATE = "read the control plane's state"
    READ_AUDIT = "read the audit log"
    ISSUE_DATAPLANE_TOKEN = "generate dataplane tokens"
    ISSUE_USER_TOKEN = "generate user tokens"
    ISSUE_ZONE_TOKEN = "generate zone tokens"


class Role(enum.Enum):
    """The rights that a caller has."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    DATAPLANE = "dataplane"
    ZONE = "zone"
    ANONYMOUS = "anonymous"


@attrs.frozen(kw_only=True)
class Caller:
    """Who sent a request, as proven. `peer` is the address it came from, `token_id` names the token without being it."""

    name: str
    groups: tuple[str, ...]
    role: Role
    token_id: str = ""
    peer: str = ""
    dataplane: DataplaneClaims | None = None

    def __str__(self) -> str:
        """Write it as the audit log does."""
        # Quoted where needed: a name must not pass for other parts of the line.
        parts = [f"user={_quoted(self.name)}"]
        parts += [f"groups={','.join(map(_quoted, self.groups))}"] if self.groups else []
        parts += [f"token={_quoted(self.token_id)}"] if self.token_id else []
        parts += [f"from={self.peer}"] if self.peer else []
        return " ".join(parts)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def anonymous(peer: str) -> Caller:
    """Return a caller that showed nothing."""
    return Caller(name="mesh-system:anonymous", groups=(UNAUTHENTICATED,), role=Role.ANONYMOUS, peer=peer)


def local_admin(peer: str) -> Caller:
    """Return the caller that development mode takes loopback for."""
    return Caller(name=ADMIN, groups=(ADMIN, AUTHENTICATED), role=Role.ADMIN, peer=peer)


def user(name: str, groups: tuple[str, ...], *, token_id: str, peer: str) -> Caller:
    """Return a caller with a good user token."""
    role = Role.ADMIN if ADMIN in groups else Role.OPERATOR if OPERATOR in groups else Role.VIEWER
    known = tuple(dict.fromkeys((*groups, AUTHENTICATED)))
    return Caller(name=name, groups=known, role=role, token_id=token_id, peer=peer)


def dataplane(claims: DataplaneClaims, *, peer: str) -> Caller:
    """Return a caller with a good dataplane token."""
    whom = claims.name or claims.workload or "any"
    return Caller(
        name=f"dataplane:{claims.mesh}/{whom}",
        groups=(),
        role=Role.DATAPLANE,
        token_id=claims.token_id,
        peer=peer,
        dataplane=claims,
    )


def zone(name: str, *, token_id: str, peer: str) -> Caller:
    """Return a caller with a good zone token."""
    return Caller(name=f"zone:{name}", groups=(), role=Role.ZONE, token_id=token_id, peer=peer)


_ANYBODY = frozenset({Action.INDEX, Action.WHO_AM_I})
_VIEWER = _ANYBODY | {Action.READ, Action.READ_OWN, Action.READ_STATE}
_OPERATOR = _VIEWER | {
    Action.WRITE,
    Action.DELETE,
    Action.APPLY,
    Action.READ_AUDIT,
    Action.ISSUE_DATAPLANE_TOKEN,
}
_GRANTED: Mapping[Role, frozenset[Action]] = {
    Role.ADMIN: frozenset(Action),
    Role.OPERATOR: _OPERATOR,
    Role.VIEWER: _VIEWER,
    Role.DATAPLANE: _ANYBODY | {Action.READ_OWN},
    Role.ZONE: _ANYBODY,
    Role.ANONYMOUS: frozenset({Action.INDEX}),
}


def decide(caller: Caller, action: Action, kind: str = "") -> str:
    """Return why `caller` may not do `action` (to resources of `kind`); empty when it may.

    READ_OWN of a Dataplane's token is granted for its own alone: `owns` decides about that one.
    """
    granted = action in _GRANTED[caller.role]
    if kind in SECRET_KINDS and caller.role is not Role.ADMIN:
        granted = False
    if action is Action.DELETE and kind == "Mesh" and caller.role is not Role.ADMIN:
        granted = False
    if granted:
        return ""
    what = f"{action.value} {kind}".strip()
    groups = f" (groups: {', '.join(caller.groups)})" if caller.groups else ""
    return f"user {caller.name!r}{groups} may not {what}"


def owns(caller: Caller, resource: Resource) -> bool:
    """Tell whether a Dataplane's token stands for just this Dataplane. One that binds a whole mesh stands for none."""
    claims = caller.dataplane
    if claims is None or not (claims.name or claims.workload or claims.tags):
        return False
    mismatch = claims.mismatch(
        mesh=resource.mesh,
        name=resource.name,
        workload=resource.labels.get(WORKLOAD, ""),
        tags=resource.labels,
    )
    return claims.mesh == resource.mesh and not mismatch
