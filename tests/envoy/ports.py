"""Ports for listeners that are told their address before they open it."""

import itertools
import os
import socket
from collections.abc import Iterable

# Below the ports that the kernel gives to outgoing connections: one of those could take a port that was free a moment ago.
_PORTS = range(22_000, 32_000)
_candidates = itertools.cycle([_PORTS[(os.getpid() * 89 + offset) % len(_PORTS)] for offset in range(len(_PORTS))])


def free_ports(names: Iterable[str]) -> dict[str, int]:
    """Return {name: port}, all of them free a moment ago; no port is given twice within ten thousand."""
    return {name: next(filter(_is_free, _candidates)) for name in names}


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
