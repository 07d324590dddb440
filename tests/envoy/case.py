"""Case: one configuration, one script, and what of the outcome counts. A value: run by `ours` and by `theirs`.

Parts are our own snapshot's. Addresses in them are names: an endpoint's host is an upstream of the case, or a listener for
a second hop; listeners get free ports. `placed` puts real addresses in.
"""

from collections.abc import Mapping, Sequence

import attrs

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    InboundListener,
    OutboundListener,
    Part,
    Route,
)
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.load_balancing import Balancer, LoadBalancing
from mesh.policy.retry import RetryPolicy
from mesh.policy.timeout import Timeouts
from tests.envoy.script import Answer, Step, Upstream, get

Bounds = tuple[float, float]  # seconds or counts, both ends included
NOWHERE = Address("nowhere", 0)


@attrs.frozen(kw_only=True)
class Case:
    """What is compared: replies, requests as the upstreams saw them, log, connections, and the `stats` it names.

    `first_asked_first`: which upstream plays which script is settled by who is asked first. `ordered` False: requests are
    concurrent or chance decides, so replies and log are counted instead of listed. `shares`: how many requests each
    upstream may get, in the place of their order. `gaps`: bounds of the spans between arrivals; `takes`: of the replies'
    durations, None: any. `warm_s`: from the start of the proxy to the first step; `settles_s`: from the last step to the count.
    `compares_replies` False: neither replies nor log, where chance decides over them.
    """

    name: str
    parts: tuple[Part, ...]
    upstreams: tuple[Upstream, ...] = (Upstream(name="u0"),)
    steps: tuple[Step, ...]
    first_asked_first: bool = False
    ordered: bool = True
    shares: Mapping[str, Bounds] | None = None
    gaps: tuple[Bounds, ...] = ()
    takes: tuple[Bounds | None, ...] = ()
    stats: tuple[str, ...] = ()
    compares_replies: bool = True
    warm_s: float = 0.0
    settles_s: float = 0.15

    @property
    def listeners(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts if isinstance(part, OutboundListener | InboundListener))


def placed(case: Case, addresses: Mapping[str, tuple[str, int]]) -> list[Part]:
    """Return the case's parts with real addresses; `addresses`: of upstreams and listeners by name."""
    real = {name: Address(host, port) for name, (host, port) in addresses.items()}
    return [_placed(part, real) for part in case.parts]


def _placed(part: Part, real: Mapping[str, Address]) -> Part:
    match part:
        case ClusterEndpoints():
            endpoints = (attrs.evolve(endpoint, address=real[endpoint.address.host]) for endpoint in part.endpoints)
            return attrs.evolve(part, endpoints=tuple(endpoints))
        case OutboundListener():
            return attrs.evolve(part, address=real[part.name])
        case InboundListener():
            return attrs.evolve(part, address=real[part.name], application=real[part.application.host])
        case _:
            return part


ROUND_ROBIN = LoadBalancing(balancer=Balancer.ROUND_ROBIN)


def service(
    *names: str,
    name: str = "c",
    endpoints: Sequence[Endpoint] = (),
    protocol: Protocol = Protocol.HTTP,
    **cluster: object,
) -> tuple[Part, ...]:
    """Return a cluster of the upstreams with these names, in turns unless told otherwise."""
    made = tuple(endpoints) or tuple(endpoint(name) for name in names)
    cluster.setdefault("load_balancing", ROUND_ROBIN)
    return (
        Cluster(name=name, protocol=protocol, **cluster),  # type: ignore[arg-type]
        ClusterEndpoints(cluster=name, endpoints=made),
    )


def endpoint(upstream: str, **other: object) -> Endpoint:
    """Return an endpoint that is the upstream of this name."""
    return Endpoint(name=upstream, address=Address(upstream, 0), **other)  # type: ignore[arg-type]


def route(name: str = "r", to: str = "c", **other: object) -> Route:
    """Return a route to one cluster, unless it says otherwise."""
    if not (other.keys() & {"backends", "redirect"}):
        other["backends"] = (Backend(cluster=to),)
    return Route(name=name, **other)  # type: ignore[arg-type]


def outbound(
    *routes: Route, name: str = "out", protocol: Protocol = Protocol.HTTP, retry_connects: int = 0
) -> OutboundListener:
    """Return an outbound listener; without routes: one to cluster c."""
    return OutboundListener(
        name=name, address=NOWHERE, protocol=protocol, routes=routes or (route(),), retry_connects_max=retry_connects
    )


def inbound(
    application: str = "u0", *, name: str = "in", protocol: Protocol = Protocol.HTTP, **other: object
) -> InboundListener:
    """Return an inbound listener in front of an upstream, plaintext and open to all."""
    other.setdefault("permissions", None)
    return InboundListener(
        name=name,
        address=NOWHERE,
        application=Address(application, 0),
        protocol=protocol,
        tls_mode=TlsMode.OFF,
        **other,  # type: ignore[arg-type]
    )


def plain(
    *upstreams: str, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, **cluster: object
) -> tuple[Part, ...]:
    """Return the parts of one listener with one route to one cluster of these upstreams (u0 if none are named)."""
    policies: dict[str, object] = {}
    if retry is not None:
        policies["retry"] = retry
    if timeouts is not None:
        policies["timeouts"] = timeouts
        cluster.setdefault("timeouts", timeouts)
    return (*service(*(upstreams or ("u0",)), **cluster), outbound(route(**policies)))


def single(
    name: str,
    *answers: Answer,
    retry: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    steps: Sequence[Step] = (get(),),
    cluster: Mapping[str, object] | None = None,
    **other: object,
) -> Case:
    """Return a case with one upstream, u0, one route to it and one request, unless told otherwise."""
    return Case(
        name=name,
        parts=plain("u0", retry=retry, timeouts=timeouts, **(cluster or {})),
        upstreams=(Upstream(name="u0", answers=answers or (Answer(),)),),
        steps=tuple(steps),
        **other,  # type: ignore[arg-type]
    )


def pair(
    name: str,
    first: Sequence[Answer],
    second: Sequence[Answer] = (Answer(),),
    *,
    steps: Sequence[Step],
    retry: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    cluster: Mapping[str, object] | None = None,
    **other: object,
) -> Case:
    """Return a case with two upstreams in turns: the one that is asked first is `first`."""
    return Case(
        name=name,
        parts=plain("first", "second", retry=retry, timeouts=timeouts, **(cluster or {})),
        upstreams=(Upstream(name="first", answers=tuple(first)), Upstream(name="second", answers=tuple(second))),
        steps=tuple(steps),
        first_asked_first=True,
        **other,  # type: ignore[arg-type]
    )
