"""What one instance of a service, or one place where users live, has to know. Values only."""

from collections.abc import Mapping

import attrs

from mesh.model.names import Address
from sim.scenario.topology import Endpoint, Service, ServiceKind
from sim.scenario.users import Workload


@attrs.frozen(kw_only=True)
class ServiceSettings:
    """One instance: where it listens, and the local address (an outbound of its sidecar) of each service it calls.

    `caches_full`: it has run for a long time already, as those have that a scenario begins with.
    """

    service: Service
    instance: str
    zone: str = ""
    listen: Address
    address_by_service: Mapping[str, Address]
    called: Mapping[tuple[str, str, str], Endpoint] = attrs.field(factory=dict)  # (service, verb, path): what is called
    database_kind_by_service: Mapping[str, ServiceKind] = attrs.field(factory=dict)
    caches_full: bool = False


@attrs.frozen(kw_only=True)
class UsersSettings:
    """The users of one workload in one zone: their share of its rate, and where they send requests."""

    workload: Workload
    zone: str
    share: float  # of the workload's starts, above 0 to 1
    first_user: int = 0  # closed model: the number of the first user here,
    users: int = 0  # and how many
    until_s: float  # after the start; nobody starts later
    address_by_service: Mapping[str, Address]
    called: Mapping[tuple[str, str, str], Endpoint] = attrs.field(factory=dict)
