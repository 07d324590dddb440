"""What a scenario says about the system: zones, links, services and the work of their endpoints. Values only."""

import enum
from typing import TypeAlias

import attrs

from mesh.model.traffic import Protocol
from sim.scenario.distributions import Constant, Distribution
from sim.scenario.headers import Header


class ServiceKind(enum.Enum):
    """What a service speaks."""

    HTTP = "http"
    POSTGRESQL = "postgresql"
    REDIS = "redis"

    @property
    def protocol(self) -> Protocol:
        """What its port is declared as in the mesh."""
        return Protocol.HTTP if self is ServiceKind.HTTP else Protocol.TCP

    @property
    def port(self) -> int:
        """The port of its inbound."""
        return {ServiceKind.HTTP: 8080, ServiceKind.POSTGRESQL: 5432, ServiceKind.REDIS: 6379}[self]


@attrs.frozen(kw_only=True)
class Operation:
    """What can be asked of a service: `GET /stock?colour=red`, `SELECT users`, `SET`."""

    service: str
    verb: str
    target: str = ""

    @property
    def path(self) -> str:
        """The target without its query: what endpoints are known by."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.service} {self.verb} {self.target}".rstrip()


@attrs.frozen(kw_only=True)
class Work:
    """Computing time, taken while the request holds its place in the instance."""

    time: Distribution


@attrs.frozen(kw_only=True)
class Call:
    """A request to another service. `timeout_s` 0: none but the mesh's. An optional call may fail without failing its caller."""

    operation: Operation
    timeout_s: float = 0.0
    optional: bool = False
    headers: tuple[Header, ...] = ()


@attrs.frozen(kw_only=True)
class Parallel:
    """Steps that run at once; done when all are."""

    steps: tuple["Step", ...]


Step: TypeAlias = Work | Call | Parallel


@attrs.frozen(kw_only=True)
class Failure:
    """A share of the requests that fail before any work is done: with a status, or (status 0) by a reset connection."""

    status: int
    share: float


@attrs.frozen(kw_only=True)
class Endpoint:
    """One operation of an HTTP service and what it does.

    `counts` names the event that one successful execution adds to: `count(service.event)` in checks.
    Bodies have the given sizes in bytes; a request's is sent by every caller. `headers` go with each answer, failures too.
    A request without the `required` headers is answered 400.
    """

    verb: str
    path: str
    steps: tuple[Step, ...] = ()
    idempotent: bool = True
    failures: tuple[Failure, ...] = ()
    counts: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    headers: tuple[Header, ...] = ()
    required: tuple[Header, ...] = ()

    @property
    def operation(self) -> str:
        return f"{self.verb} {self.path}"


@attrs.frozen(kw_only=True)
class Autoscale:
    """Instances follow the share of busy places: checked every 5 s, a change takes effect after `delay_s`."""

    target: float
    least: int
    most: int
    delay_s: float


@attrs.frozen(kw_only=True)
class Service:
    """A service: its instances per zone, and what one instance can hold.

    `concurrency` requests are served at once per instance, `queue` more wait, the rest is refused.
    `work` is the time of one statement of a database; HTTP services have endpoints instead.
    """

    name: str
    kind: ServiceKind = ServiceKind.HTTP
    instances: tuple[tuple[str, int], ...]
    concurrency: int = 64
    queue: int = 256
    work: Distribution = Constant(0.0)
    endpoints: tuple[Endpoint, ...] = ()
    autoscale: Autoscale | None = None
    labels: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # of its Dataplanes; instance n has the n-th value, round and round

    def endpoint(self, verb: str, path: str) -> Endpoint | None:
        return next((e for e in self.endpoints if e.verb == verb and e.path == path), None)

    def called_services(self) -> tuple[str, ...]:
        """Return the names of the services that its endpoints call, sorted."""
        names = {call.operation.service: None for endpoint in self.endpoints for call in calls_of(endpoint.steps)}
        return tuple(sorted(names))


def calls_of(steps: tuple[Step, ...]) -> list[Call]:
    """Return all calls among steps, parallel ones too, in order."""
    found: list[Call] = []
    for step in steps:
        match step:
            case Call():
                found.append(step)
            case Parallel():
                found.extend(calls_of(step.steps))
    return found


@attrs.frozen(kw_only=True)
class LinkModel:
    """How bytes travel one way. Bandwidth in bytes per second (0: unlimited); loss is a share of the segments."""

    latency: Distribution = Constant(0.0)
    bandwidth: float = 0.0
    loss: float = 0.0


@attrs.frozen(kw_only=True)
class Link:
    """The link between two zones, both ways."""

    between: tuple[str, str]
    model: LinkModel


@attrs.frozen(kw_only=True)
class NetworkModel:
    """Links between hosts: `default` within a zone and wherever no link is named."""

    default: LinkModel = LinkModel()
    links: tuple[Link, ...] = ()


@attrs.frozen(kw_only=True)
class ControlPlaneModel:
    """Where the control plane runs, and how long its messages take besides the network."""

    zone: str
    push_delay: Distribution = Constant(0.0)
