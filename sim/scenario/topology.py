"""What a scenario says about the system: zones, links, services and the work of their endpoints. Values only."""

import enum
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from mesh.model.traffic import Protocol
from mesh.resources.documents import Value
from sim.scenario.code import Code
from sim.scenario.distributions import Constant, Distribution
from sim.scenario.headers import Header
from sim.scenario.retries import Retries


class ServiceKind(enum.Enum):
    """What a service speaks."""

    HTTP = "http"
    POSTGRESQL = "postgresql"
    REDIS = "redis"
    TCP = "tcp"  # what an actor of the operator's own makes of it

    @property
    def protocol(self) -> Protocol:
        """What its port is declared as in the mesh."""
        return Protocol.HTTP if self is ServiceKind.HTTP else Protocol.TCP

    @property
    def port(self) -> int:
        """The port of its inbound."""
        return _PORT_BY_KIND[self]

    @property
    def is_database(self) -> bool:
        """Whether statements are what is asked of it."""
        return self in (ServiceKind.POSTGRESQL, ServiceKind.REDIS)


_PORT_BY_KIND = {ServiceKind.HTTP: 8080, ServiceKind.POSTGRESQL: 5432, ServiceKind.REDIS: 6379, ServiceKind.TCP: 9000}


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
    """Computing time, taken while the request holds its place in the instance.

    With a `lock` (of that name in the instance) it is done alone, or together with all others that are `shared`.
    """

    time: Distribution
    lock: str = ""
    shared: bool = False


@attrs.frozen(kw_only=True)
class Call:
    """A request to another service. `timeout_s` 0: none but the mesh's. An optional call may fail without failing its caller."""

    operation: Operation
    timeout_s: float = 0.0
    optional: bool = False
    headers: tuple[Header, ...] = ()
    body: str = ""
    retries: Retries | None = None


@attrs.frozen(kw_only=True)
class Cached:
    """A call whose answer may be in a cache: of this instance, or (`service`) one of Redis' kind.

    `share` of the requests ask for one of `keys` equally wanted keys and may find it; what they miss is called for and then
    kept. Caches are full when a scenario begins and empty after a restart: a failed call warms nothing.
    """

    call: Call
    keys: int
    share: float = 1.0
    service: str = ""


@attrs.frozen(kw_only=True)
class Parallel:
    """Steps that run at once; done when all are."""

    steps: tuple["Step", ...]


Step: TypeAlias = Work | Call | Cached | Parallel


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


class ScaleMetric(enum.Enum):
    """What an autoscaler looks at: a share of the places of the instances."""

    BUSY = "busy"  # taken by a request, whatever it does
    CPU = "cpu"  # at work: not waiting for another service, a lock or a connection


@attrs.frozen(kw_only=True)
class Autoscale:
    """Instances follow a metric: checked every 5 s, a change takes effect after `delay_s`.

    One instance less at a time, after it was calm for `calm_s`. `quota` (None: none) instances at most are started within
    any `quota_span_s`: what a cloud's limits, or the service that provisions machines, leaves.
    """

    target: float
    least: int
    most: int
    delay_s: float
    metric: ScaleMetric = ScaleMetric.BUSY
    calm_s: float = 60.0
    quota: int | None = None
    quota_span_s: float = 60.0


@attrs.frozen(kw_only=True)
class External:
    """What makes a service external: the name that its callers resolve, and how long resolvers remember the answer."""

    hostname: str
    ttl_s: float = 30.0


@attrs.frozen(kw_only=True)
class Service:
    """A service: its instances per zone, and what one instance can hold.

    `concurrency` requests are served at once per instance, `queue` more wait, the rest is refused.
    `work` is the time of one statement of a database; HTTP services have endpoints instead, or `code` of the operator's own,
    which calls the services in `calls`, gets `settings` and counts the events in `counts`.
    Of a database: `connections` (0: any number) are accepted, `locks` makes writers of a table wait for one another and for
    its readers, and each other statement under way makes one slower by the share `contention`.
    `pools`: connections that one instance keeps to a database, by its name.
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
    code: Code | None = None
    calls: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    settings: Mapping[str, Value] = attrs.field(factory=dict, hash=False)
    connections: int = 0
    locks: bool = False
    contention: float = 0.0
    pools: tuple[tuple[str, int], ...] = ()
    external: External | None = None  # it stands outside the mesh

    def endpoint(self, verb: str, path: str) -> Endpoint | None:
        return next((e for e in self.endpoints if e.verb == verb and e.path == path), None)

    def called_services(self) -> tuple[str, ...]:
        """Return the names of the services that its endpoints or its code call, sorted."""
        steps = [step for endpoint in self.endpoints for step in endpoint.steps]
        names = {call.operation.service: None for call in calls_of(tuple(steps))}
        return tuple(sorted({**names, **dict.fromkeys(self.calls), **dict.fromkeys(caches_of(tuple(steps)))}))


def calls_of(steps: tuple[Step, ...]) -> list[Call]:
    """Return all calls among steps, parallel ones too, in order; not what is asked of caches."""
    found: list[Call] = []
    for step in steps:
        match step:
            case Call():
                found.append(step)
            case Cached(call=call):
                found.append(call)
            case Parallel():
                found.extend(calls_of(step.steps))
    return found


def caches_of(steps: tuple[Step, ...]) -> list[str]:
    """Return the services that steps use as caches, in order."""
    found: list[str] = []
    for step in steps:
        match step:
            case Cached(service=service) if service:
                found.append(service)
            case Parallel():
                found.extend(caches_of(step.steps))
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
    """Where the control plane runs, and how long its messages take besides the network.

    Several `replicas` share one database, on a host of its own; they stand in `zone` and `other_zones` by turns.
    """

    zone: str
    push_delay: Distribution = Constant(0.0)
    replicas: int = 1
    other_zones: tuple[str, ...] = ()
    configuration_bytes_max: int = 0  # what it sends a proxy at most; 0: what a message takes
