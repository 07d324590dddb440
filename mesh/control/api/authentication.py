"""Authentication: who sent this request? A bearer token proves it; in development mode this host's own users need none.

Loopback alone is no proof: a proxy on this host forwards for others, and a web page in a browser on this host may send
requests to 127.0.0.1 under its own name (DNS rebinding) or across origins. So a request is taken for the administrator's only
when development mode is on, it came over loopback, names loopback as its host, carries no sign of a proxy and comes from
no other site's page. Kuma believes in all of loopback unless told otherwise.
"""

import ipaddress
import re

import attrs
from starlette.requests import HTTPConnection

from mesh.control import access
from mesh.control.access import Caller
from mesh.control.api.problems import Problem
from mesh.identity.token_authority import TokenAuthority
from mesh.identity.tokens import read_payload
from mesh.model.errors import IdentityError

REALM = 'Bearer realm="trio-mesh"'
# Any of these says that somebody else's request was passed on; proxies have many names of their own.
_FORWARDING_HEADER = re.compile(r"via\Z|.*(forwarded|client-ip|real-ip|connecting-ip)", re.IGNORECASE)
_LOOPBACK_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z")


@attrs.frozen(kw_only=True)
class Authenticator:
    """Decides who a caller is. `dev`: loopback without a token is the administrator."""

    tokens: TokenAuthority
    dev: bool = False

    def identify(self, request: HTTPConnection, *, now: float) -> Caller:
        """Return who sent a request; without a token nobody in particular. Raises: Problem 401 for a token that is not good."""
        peer = f"{request.client.host}:{request.client.port}" if request.client else ""
        headers = request.headers.getlist("authorization")
        if not headers:
            return access.local_admin(peer) if self.dev and _from_this_host(request) else access.anonymous(peer)
        scheme, _, token = headers[0].partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise unauthenticated("the Authorization header is not 'Bearer TOKEN'")
        try:
            return self._prove(token.strip(), peer, now)
        except IdentityError as error:
            raise unauthenticated(str(error)) from None

    def _prove(self, token: str, peer: str, now: float) -> Caller:
        """Let the kind of key decide that is asked: what a token says of itself only chooses it. Raises: IdentityError."""
        payload = read_payload(token)
        if "Zone" in payload:
            zone = self.tokens.verify_zone(token, now=now)
            return access.zone(zone.zone, token_id=zone.token_id, peer=peer)
        mesh = payload.get("Mesh")
        if isinstance(mesh, str) and mesh:
            claims = self.tokens.verify_dataplane_of(mesh, token, now=now)
            return access.dataplane(claims, peer=peer)
        user = self.tokens.verify_user(token, now=now)
        return access.user(user.name, user.groups, token_id=user.token_id, peer=peer)


def unauthenticated(detail: str) -> Problem:
    """Return the answer to a request without proof of who sent it; of one shape whatever the reason."""
    return Problem(401, "Unauthorized", detail, headers={"www-authenticate": REALM})


def _from_this_host(request: HTTPConnection) -> bool:
    headers = request.headers
    if any(_FORWARDING_HEADER.match(name) for name in headers):
        return False
    if request.client is None or not _is_loopback(request.client.host):
        return False
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _LOOPBACK_HOST.match(hosts[0]):
        return False
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    return all(_is_own_origin(origin, hosts[0]) for origin in headers.getlist("origin"))


def _is_own_origin(origin: str, host: str) -> bool:
    """A page of this very server, not of another one on this host."""
    scheme, separator, authority = origin.partition("://")
    return scheme in ("http", "https") and bool(separator) and authority == host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
