"""Passthrough: may the application reach a destination that is no service of the mesh? Pure.

Decides for one connection by where it goes and what its first bytes show (TLS server name, HTTP Host). A sidecar that
does not intercept traffic never sees such connections, so that this acts only together with interception.
Source: Kuma MeshPassthrough: `passthroughMode`, `appendMatch`.
"""

import enum
import ipaddress

import attrs

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class PassthroughMode(enum.Enum):
    """What passes."""

    ALL = "All"
    MATCHED = "Matched"
    NONE = "None"


class DestinationKind(enum.Enum):
    """By what a destination is recognised."""

    DOMAIN = "Domain"
    IP = "IP"
    CIDR = "CIDR"


class PassthroughProtocol(enum.Enum):
    """What travels. Kuma's words; a TCP match takes whatever comes."""

    TCP = "tcp"
    TLS = "tls"
    GRPC = "grpc"
    HTTP = "http"
    HTTP2 = "http2"
    MYSQL = "mysql"


@attrs.frozen(kw_only=True)
class PassthroughMatch:
    """One destination that may be reached. `port` 0: any.

    A domain may begin with `*.`, which stands for one label or more; `*` alone is any name.
    """

    kind: DestinationKind
    value: str
    port: int = 0
    protocol: PassthroughProtocol = PassthroughProtocol.TCP


@attrs.frozen(kw_only=True)
class Passthrough:
    """All that may be reached. `matches` count in mode MATCHED alone."""

    mode: PassthroughMode = PassthroughMode.ALL
    matches: tuple[PassthroughMatch, ...] = ()


@attrs.frozen(kw_only=True)
class Destination:
    """Where a connection goes. `name`: what it asks for, in lower case (TLS server name, HTTP Host without port); "" unknown."""

    address: str  # IP address
    port: int
    protocol: PassthroughProtocol = PassthroughProtocol.TCP
    name: str = ""


# Exact addresses say more than networks, exact names more than wildcards.
_RANK = {DestinationKind.IP: 0, DestinationKind.DOMAIN: 1, DestinationKind.CIDR: 2}


def find_match(passthrough: Passthrough, destination: Destination) -> PassthroughMatch | None:
    """Return the most specific entry that lets a destination pass, whatever the mode; None when none does."""
    found = [match for match in passthrough.matches if _covers(match, destination)]
    return min(found, key=_specificity, default=None)


def passes(passthrough: Passthrough, destination: Destination) -> bool:
    """May the application reach this destination?"""
    match passthrough.mode:
        case PassthroughMode.ALL:
            return True
        case PassthroughMode.NONE:
            return False
        case PassthroughMode.MATCHED:
            return find_match(passthrough, destination) is not None


def _covers(match: PassthroughMatch, destination: Destination) -> bool:
    if match.port not in (0, destination.port):
        return False
    if match.protocol not in (PassthroughProtocol.TCP, destination.protocol):
        return False
    if match.kind is DestinationKind.DOMAIN:
        return _covers_name(match.value.lower(), destination.name)
    address = _address(destination.address)
    if address is None:
        return False
    if match.kind is DestinationKind.IP:
        return address == _address(match.value)
    network = ipaddress.ip_network(match.value, strict=False)
    return address.version == network.version and address in network


def _covers_name(pattern: str, name: str) -> bool:
    if pattern == "*":
        return bool(name)
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return bool(name) and name == pattern


def _address(text: str) -> _IPAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # ::ffff:10.0.0.1 is 10.0.0.1: a match must not be escaped by writing an address another way.
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _specificity(match: PassthroughMatch) -> tuple[int, int, bool, bool, str, str]:
    if match.kind is DestinationKind.CIDR:
        narrow = -ipaddress.ip_network(match.value, strict=False).prefixlen
    else:
        narrow = -len(match.value) if match.value.startswith("*") else -1000
    anything = match.protocol is PassthroughProtocol.TCP
    # The last two only keep the order of writing out of it.
    return (_RANK[match.kind], narrow, match.port == 0, anything, match.protocol.value, match.value)
