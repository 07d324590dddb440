"""Virtual addresses (VIPs) of services: each has one of its own, the same for all callers and for good. Pure.

They are drawn from a hash of the name, so that control planes that cannot talk, and one that has forgotten, agree on
all but the few that collide. Source: Kuma's ranges 241/8, 242/8 and 243/8; there VIPs are handed out in turn.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from mesh.config.services import EXTERNAL, MESH_SERVICE, MULTI_ZONE, ServiceKey

NETWORK_BY_KIND = {MESH_SERVICE: 241, EXTERNAL: 242, MULTI_ZONE: 243}
_HOSTS = (1 << 24) - 2  # Neither x.0.0.0 nor x.255.255.255.
_ATTEMPTS_MAX = 1000


def assign_vips(
    services: Iterable[ServiceKey], previous: Mapping[ServiceKey, str], *, mesh: str
) -> Mapping[ServiceKey, str]:
    """Return the virtual addresses of all services, `{(kind, name): IP address}`, those of the past among them.

    Whoever had one keeps it, and nobody else ever gets it: an application may hold on to an address for days.
    """
    new = sorted(key for key in dict.fromkeys(services) if key not in previous)
    if not new:
        return previous
    assigned = dict(previous)
    taken = dict.fromkeys(assigned.values())
    for key in new:
        assigned[key] = next(vip for vip in _candidates(key, mesh) if vip not in taken)
        taken[assigned[key]] = None
    return assigned


def _candidates(key: ServiceKey, mesh: str) -> Iterator[str]:
    kind, name = key
    for attempt in range(_ATTEMPTS_MAX):
        digest = hashlib.blake2b(f"{mesh}\0{name}\0{attempt}".encode(), digest_size=8).digest()
        host = int.from_bytes(digest) % _HOSTS + 1
        yield f"{NETWORK_BY_KIND[kind]}.{host >> 16}.{host >> 8 & 255}.{host & 255}"
    raise AssertionError(f"{_ATTEMPTS_MAX} addresses of 2^24 are all taken")
