"""Request hash: which properties of a request say that it belongs with another, for balancers that hash.

Pure: chance is an argument. The same request has the same hash as in Envoy.
Source: Kuma MeshLoadBalancingStrategy `hashPolicies`; Envoy `RouteAction.HashPolicy`, source/common/http/hash_policy.cc.
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs
import xxhash

from mesh.model.randomness import Random

_MASK = (1 << 64) - 1
_COOKIE_BITS = 64


class HashSource(enum.Enum):
    """What is hashed. Kuma's words."""

    HEADER = "Header"
    COOKIE = "Cookie"
    CONNECTION = "Connection"  # the client's IP address
    QUERY_PARAMETER = "QueryParameter"


@attrs.frozen(kw_only=True)
class HashPolicy:
    """One property. With `terminal` later ones count only where this one and all before it gave nothing.

    `name`: of the header (lower case), cookie or parameter. A cookie with a `cookie_ttl_s` that the request does not have
    is made up and set on the response (0: for the session); None: it is only read.
    """

    source: HashSource
    name: str = ""
    terminal: bool = False
    cookie_ttl_s: float | None = None
    cookie_path: str = ""


class HashedHead(Protocol):
    """What is looked at of a request's head."""

    @property
    def target(self) -> bytes: ...
    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]: ...
    def header(self, name_lower: bytes, /) -> bytes | None: ...


class RequestHasher:
    """Hashes requests by `policies`, in their order; made when configuration is applied."""

    __slots__ = ("_policies",)

    def __init__(self, policies: Sequence[HashPolicy]) -> None:
        self._policies = tuple((_hash_of(policy), _new_cookie(policy), policy.terminal) for policy in policies)

    def hash(self, head: HashedHead, remote_host: str, random: Random) -> tuple[int | None, bytes]:
        """Return the hash (64 bits; None: the request has nothing of what is asked for) and `set-cookie` lines to add.

        The lines are complete, with CR LF, and belong on the response: the client is to come back with the cookie.
        """
        combined: int | None = None
        lines = b""
        for hash_of, new_cookie, terminal in self._policies:
            own = hash_of(head, remote_host)
            if own is None and new_cookie is not None:
                value = b"%016x" % random.getrandbits(_COOKIE_BITS)
                lines += new_cookie % value
                own = xxhash.xxh64_intdigest(value)
            if own is not None:
                # Turned by one bit, so that the same value twice does not cancel itself out.
                combined = own if combined is None else (combined << 1 & _MASK | combined >> 63) ^ own
            if terminal and combined is not None:
                break
        return combined, lines


def _hash_of(policy: HashPolicy) -> Callable[[HashedHead, str], int | None]:
    name = policy.name.encode()
    match policy.source:
        case HashSource.HEADER:
            return lambda head, _: _header_hash(head, name)
        case HashSource.COOKIE:
            return lambda head, _: _hash(_cookie_value(head.header(b"cookie"), name))
        case HashSource.CONNECTION:
            return lambda _, remote_host: _hash(remote_host.encode() or None)
        case HashSource.QUERY_PARAMETER:
            return lambda head, _: _hash(_parameter_value(head.target, name))


def _hash(value: bytes | None) -> int | None:
    return None if value is None else xxhash.xxh64_intdigest(value)


def _new_cookie(policy: HashPolicy) -> bytes | None:
    """Return the line that sets the cookie, with a place for its value; None: it is never set."""
    if policy.source is not HashSource.COOKIE or policy.cookie_ttl_s is None:
        return None
    line = f'set-cookie: {policy.name}="'.replace("%", "%%") + '%b"'
    if int(policy.cookie_ttl_s):
        line += f"; Max-Age={int(policy.cookie_ttl_s)}"
    if policy.cookie_path:
        line += f"; Path={policy.cookie_path}".replace("%", "%%")
    return f"{line}; HttpOnly\r\n".encode()


def _header_hash(head: HashedHead, name: bytes) -> int | None:
    """Hash the field's value; of a repeated one all values in alphabetical order, each seeded with the hash before it."""
    joined = head.header(name)
    if joined is None or b"," not in joined:
        return _hash(joined)
    value_hash = 0
    for value in sorted(value.strip() for field, value in head.headers if field.lower() == name):
        value_hash = xxhash.xxh64_intdigest(value, value_hash)
    return value_hash


def _cookie_value(cookies: bytes | None, name: bytes) -> bytes | None:
    """Return the first cookie of that name without its quotes; an empty one is none."""
    if cookies is None:
        return None
    for cookie in cookies.split(b";"):
        key, equals, value = cookie.partition(b"=")
        if equals and key.lstrip(b" ") == name:
            quoted = len(value) >= 2 and value[:1] == value[-1:] == b'"'
            return (value[1:-1] if quoted else value) or None
    return None


def _parameter_value(target: bytes, name: bytes) -> bytes | None:
    """Return the first parameter of that name as it is written, not decoded."""
    for parameter in target.partition(b"?")[2].split(b"&"):
        key, _, value = parameter.partition(b"=")
        if key == name:
            return value
    return None
