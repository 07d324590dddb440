"""Names to addresses: endpoints outside the mesh are written as DNS names, and connections are made to IP addresses.

`NameResolver` owns what the names in use stand for. Accepts: which names those are. Emits: that one has changed.
It asks again every REFRESH_S, beside the request path. A name that stops resolving keeps its last addresses, as in Envoy
(STRICT_DNS, whose endpoints are all addresses of a name). It knows no TTL: the system's resolver hides it.
"""

import ipaddress
import math
from collections.abc import Callable, Iterable, Mapping

import attrs

from mesh.config.snapshot import Endpoint
from mesh.model.errors import ConnectFailed, DeadlineExceeded
from mesh.model.names import Address
from mesh.runtime.environment import Environment
from mesh.runtime.pump import Pump

REFRESH_S = 5.0
# Longer than the system's resolver tries: it asks a second time after 5 s, which one lost packet makes necessary.
RESOLVE_TIMEOUT_S = 12.0


@attrs.frozen(kw_only=True)
class LocatedEndpoint:
    """An endpoint of the configuration as connections find it; one for each address of its name.

    `address` None: the name has not been resolved yet, or, where `lost`, it could not be.
    """

    name: str
    endpoint: Endpoint
    address: Address | None
    lost: bool = False


def is_name(host: str) -> bool:
    """Is this a name, and no IP address?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def locate(
    endpoints: Iterable[Endpoint], addresses_by_name: Mapping[str, tuple[str, ...]]
) -> tuple[LocatedEndpoint, ...]:
    """Put the addresses that are known in the place of names; an empty tuple stands for a name that has none."""
    located: list[LocatedEndpoint] = []
    for endpoint in endpoints:
        host, port = endpoint.address.host, endpoint.address.port
        if not is_name(host):
            located.append(LocatedEndpoint(name=endpoint.name, endpoint=endpoint, address=endpoint.address))
            continue
        addresses = addresses_by_name.get(host)
        located += [
            LocatedEndpoint(name=f"{endpoint.name}/{ip}", endpoint=endpoint, address=Address(ip, port))
            for ip in addresses or ()
        ]
        if not addresses:
            lost = addresses is not None
            located.append(LocatedEndpoint(name=endpoint.name, endpoint=endpoint, address=None, lost=lost))
    return tuple(located)


class NameResolver:
    """One a sidecar; `on_change(name)` is called when a name's addresses have become known or are others now."""

    def __init__(self, env: Environment, on_change: Callable[[str], None]) -> None:
        self.addresses_by_name: dict[str, tuple[str, ...]] = {}  # empty: it could not be resolved
        self._env = env
        self._on_change = on_change
        self._random = env.randomness.stream("proxy", "name-resolution")
        self._pumps: dict[str, Pump] = {}

    def want(self, names: Iterable[str]) -> None:
        """Keep exactly these names resolved."""
        wanted = dict.fromkeys(names)
        for name in [name for name in self._pumps if name not in wanted]:
            self._pumps.pop(name).cancel()
            self.addresses_by_name.pop(name, None)
        for name in wanted:
            if name not in self._pumps:
                self._pumps[name] = self._env.reactor.start(self._keep(name), name=f"resolve {name}")

    def close(self) -> None:
        """Resolve nothing any more."""
        self.want(())

    async def _keep(self, name: str) -> None:
        reactor = self._env.reactor
        pump = reactor.current
        assert pump is not None
        while True:
            pump.set_deadline(reactor.now() + RESOLVE_TIMEOUT_S)
            try:
                found = await reactor.call_trio(self._env.network.resolve, name)
                self._note(name, _of_one_family(found))
            except ConnectFailed as error:
                self._note_failure(name, error.reason)
            except DeadlineExceeded:
                self._note_failure(name, "no answer in time")
            pump.set_deadline(math.inf)  # That was the question's, not the pause's.
            # Drawn, so that not all names of all proxies are asked for in the same instant for ever.
            await reactor.sleep(REFRESH_S * self._random.uniform(0.9, 1.1))

    def _note_failure(self, name: str, reason: str) -> None:
        if name not in self.addresses_by_name:
            self._env.log.warning("name.not_resolved", name=name, reason=reason)
            self._note(name, ())

    def _note(self, name: str, addresses: tuple[str, ...]) -> None:
        if addresses != self.addresses_by_name.get(name):
            self.addresses_by_name[name] = addresses
            self._on_change(name)


def _of_one_family(found: Iterable[str]) -> tuple[str, ...]:
    """Return the IPv4 addresses, sorted; the IPv6 ones where there are none. Source: Envoy dns_lookup_family V4_PREFERRED.

    Hosts without a route for IPv6 are common, and each request that picked such an address would fail. Sorted, since
    servers of names turn their answers round.
    """
    addresses = sorted(dict.fromkeys(found))
    return tuple(ip for ip in addresses if ":" not in ip) or tuple(addresses)
