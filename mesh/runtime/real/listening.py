"""Listening sockets, and whom to blame when there is none.

Used for pumps (`mesh.runtime.reactor`) and for Trio tasks (`mesh.runtime.real.network`). Takes IP addresses only.
"""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator

from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BACKLOG = 4096  # The kernel lowers it to net.core.somaxconn.
_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp.


def ip_family(host: str) -> socket.AddressFamily:
    """Return the family of an IP address. Raises: ConfigError when it is none (a name would block on its resolution)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError) as error:
        raise ConfigError(
            [Violation(message=f"{host!r} is not an IP address", hint="resolve the name first")]
        ) from error
    return family


def listen_on(address: Address, *, reuse_port: bool = False) -> socket.socket:
    """Open a non-blocking listening socket. Raises: ConfigError naming the address when it is taken or not ours.

    `reuse_port` lets several processes share the port: the kernel spreads connections over them.
    """
    family = ip_family(address.host)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family is socket.AF_INET6:
            # `::` and `0.0.0.0` are two listeners, as in Envoy: an IPv4 peer never appears as ::ffff:a.b.c.d.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError([_explain(address, error)]) from error
    return listener


def local_address(sock: socket.socket) -> Address:
    """Return where a socket is bound."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _explain(address: Address, error: OSError) -> Violation:
    match error.errno:
        case errno.EADDRINUSE:
            user = port_user(address)
            by = f" by {user}" if user else ""
            return Violation(
                message=f"cannot listen on {address}: port {address.port} is in use{by}",
                hint="stop that program or choose another port",
            )
        case errno.EADDRNOTAVAIL:
            return Violation(
                message=f"cannot listen on {address}: {address.host} is not an address of this machine",
                hint="use 127.0.0.1, 0.0.0.0 or an address that `ip address` shows",
            )
        case errno.EACCES:
            return Violation(
                message=f"cannot listen on {address}: not permitted",
                hint="ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port",
            )
        case _:
            return Violation(message=f"cannot listen on {address}: {error.strerror}")


def port_user(address: Address) -> str:
    """Name the program whose listener keeps others from `address`, as `nginx (pid 12)`; "" when it cannot be seen."""
    for inode in _rival_inodes(address):
        socket_name = f"socket:[{inode}]"
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if socket_name in _open_files(f"/proc/{pid}/fd"):
                return _program(pid)
    return ""


def _program(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return f"{comm.read().strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"  # It ends at this moment.


def _open_files(folder: str) -> Iterator[str]:
    try:
        numbers = os.listdir(folder)
    except OSError:
        return  # Not ours to look at.
    for number in numbers:
        try:
            yield os.readlink(f"{folder}/{number}")
        except OSError:
            continue  # Closed meanwhile.


def _rival_inodes(address: Address) -> list[str]:
    """Find the listening sockets that exclude one on `address`: those on the same address first, then wildcards."""
    ours = ipaddress.ip_address(address.host)
    exact, others = [], []
    for local, port, inode in _listening_sockets():
        if port != address.port:
            continue
        if local == ours:
            exact.append(inode)
        # `::` takes IPv4 too unless its program said otherwise, which cannot be seen here.
        elif (local.is_unspecified and ours.version <= local.version) or (
            ours.is_unspecified and ours.version == local.version
        ):
            others.append(inode)
    return exact + others


def _listening_sockets() -> Iterator[tuple[_IPAddress, int, str]]:
    """Yield address, port and inode of each TCP listener. Source: proc_pid_net(5): sl, local_address, ..., st, ..., inode."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as lines:
                rows = [line.split() for line in lines][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTENING:
                host, _, port = row[1].rpartition(":")
                yield _decode_host(host), int(port, 16), row[9]


def _decode_host(text: str) -> _IPAddress:
    """Read the kernel's way of writing an address: words of 32 bits as the processor orders their bytes, in hexadecimal."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    host = ipaddress.ip_address(packed)
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return mapped or host
