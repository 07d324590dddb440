"""Addresses as they are typed: `127.0.0.1:5678`, `[::1]:5678` and `https://host:5678`."""

import ipaddress
import re

from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_HOST_NAME_SIZE_MAX = 253
_PORT_MAX = 65535


def parse_listen_address(text: str, *, option: str, loopback: str = "", any_port: bool = False) -> Address:
    """Read the IP address and port of a listener. Raises: ConfigError naming the option.

    `loopback` says why the address must be on loopback, if it must; `any_port` allows port 0, with which the system chooses.
    """
    address = _split(text, option=option, hint="write IP:PORT, as 127.0.0.1:5678 or [::1]:5678")
    ip = _ip_address(address.host)
    if ip is None:
        raise _refusal(option, f"{address.host!r} is not an IP address", "write IP:PORT, as 127.0.0.1:5678")
    if not (address.port or any_port):
        raise _refusal(option, "port 0 is no port", f"write a port from 1 to {_PORT_MAX}")
    if loopback and not ip.is_loopback:
        raise _refusal(option, f"{address} is not on loopback", f"write 127.0.0.1:{address.port}: {loopback}")
    return address


def parse_ip_address(text: str, *, option: str) -> str:
    """Read an IP address. Raises: ConfigError naming the option."""
    if _ip_address(text) is None:
        raise _refusal(option, f"{text!r} is not an IP address", "write one as 127.0.0.1")
    return text


def parse_url(text: str, *, option: str) -> Address:
    """Read the control plane's URL, `https://host:port`. Raises: ConfigError naming the option."""
    hint = "write https://HOST:PORT, as https://127.0.0.1:5678"
    scheme, _, rest = text.partition("://")
    if scheme not in ("https", "wss") or not rest:
        raise _refusal(option, f"{text!r} is not the URL of a control plane", hint)
    address = _split(rest.removesuffix("/"), option=option, hint=hint)
    if address.port == 0:
        raise _refusal(option, "port 0 is no port", hint)
    is_name = _HOST_NAME.fullmatch(address.host) and len(address.host) <= _HOST_NAME_SIZE_MAX
    if not is_name and _ip_address(address.host) is None:
        raise _refusal(option, f"{address.host!r} is neither a host name nor an IP address", hint)
    return address


def parse_server_name(text: str, *, option: str) -> str:
    """Read a host name or an IP address for a certificate. Raises: ConfigError naming the option."""
    is_name = _HOST_NAME.fullmatch(text) and len(text) <= _HOST_NAME_SIZE_MAX
    if not is_name and _ip_address(text) is None:
        hint = "write it as in the URL that sidecars use, without scheme and port"
        raise _refusal(option, f"{text!r} is neither a host name nor an IP address", hint)
    return text


def _split(text: str, *, option: str, hint: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()):
        raise _refusal(option, f"{text!r} is not an address with a port", hint)
    if len(port) > 5 or int(port) > _PORT_MAX:
        raise _refusal(option, f"{port} is not a port", f"write a port from 1 to {_PORT_MAX}")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host:
        raise _refusal(option, f"{text!r} is not an address with a port", "put an IPv6 address in brackets: [::1]:5678")
    return Address(host, int(port))


def _ip_address(host: str) -> IPAddress | None:
    try:
        # A scope (fe80::1%eth0) is not understood by sockets as we open them.
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _refusal(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Violation(path=option, message=message, hint=hint)])
