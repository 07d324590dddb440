"""Gate: the one place where a request is let in or not."""

from mesh.control.access import Action, Caller, Role, decide, owns
from mesh.control.api.authentication import unauthenticated
from mesh.control.api.endpoint import Call
from mesh.control.api.known import find_dataplane
from mesh.control.api.problems import Problem


def authorize(call: Call) -> None:
    """Let a call in. Raises: Problem 401, 403."""
    endpoint = call.endpoint
    require(call.caller, endpoint.action, endpoint.kind)
    if call.caller.role is Role.DATAPLANE and endpoint.action is Action.READ_OWN:
        own = find_dataplane(call.plane, call.path("mesh"), call.path("name"))
        # One answer for those of others and for those that are not there.
        if own is None or not owns(call.caller, own):
            raise forbidden(f"{call.caller.name} may read its own Dataplane alone")


def require(caller: Caller, action: Action, kind: str = "") -> None:
    """Go on only if this is granted. Raises: Problem 401, 403."""
    refusal = decide(caller, action, kind)
    if not refusal:
        return
    if caller.role is Role.ANONYMOUS:
        raise unauthenticated("a user token is needed: Authorization: Bearer TOKEN")
    raise forbidden(refusal)


def forbidden(detail: str) -> Problem:
    """Return the answer to somebody who is known and may not."""
    return Problem(403, "Access Denied", detail)
