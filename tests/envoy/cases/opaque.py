"""Opaque TCP: connecting again, halves that end, idle connections, breakers."""

from mesh.config.snapshot import Part
from mesh.model.traffic import Protocol
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, outbound, route, service
from tests.envoy.script import Door, Opaque, Piece, Stream, Upstream

HELLO = Stream(pieces=(Piece(data=b"hello"),))
LISTENS = Stream(ends=False)  # Who has written something is reset where others see an orderly end.


def _tcp(
    name: str,
    stream: Stream = HELLO,
    opaque: Opaque | None = None,
    *,
    timeouts: Timeouts | None = None,
    connects: int = 1,
    upstreams: tuple[Upstream, ...] = (),
    limits: CircuitBreakingLimits | None = None,
    **other: object,
) -> Case:
    made = upstreams or (Upstream(name="u0", opaque=opaque or Opaque()),)
    cluster: dict[str, object] = {"timeouts": timeouts or Timeouts()}
    if limits is not None:
        cluster["circuit_breaking"] = limits
    parts: tuple[Part, ...] = (
        *service(*(upstream.name for upstream in made), protocol=Protocol.TCP, **cluster),
        outbound(route(timeouts=timeouts or Timeouts()), protocol=Protocol.TCP, retry_connects=connects - 1),
    )
    return Case(name=name, parts=parts, upstreams=made, steps=(stream,), **other)  # type: ignore[arg-type]


DEAD = Upstream(name="dead", door=Door.SHUT)
ALIVE = Upstream(name="u0", opaque=Opaque())
CASES = (
    _tcp("tcp_echo"),
    _tcp(
        "tcp_server_speaks_first", Stream(pieces=(Piece(data=b"hello", wait_s=0.2),)), Opaque(greeting=b"220 ready\r\n")
    ),
    _tcp("tcp_half_close_by_the_client", HELLO, Opaque(echoes=False, farewell=b"all of it")),
    _tcp(
        "tcp_half_close_by_the_server",
        Stream(pieces=(Piece(data=b"late", wait_s=0.4),)),
        Opaque(greeting=b"bye", ends_after_s=0.1),
    ),
    _tcp(
        "tcp_reset_by_the_server", Stream(pieces=(Piece(data=b"x"),), ends=False), Opaque(ends_after_s=0.2, resets=True)
    ),
    _tcp(
        "tcp_idle",
        Stream(pieces=(Piece(data=b"x"),), ends=False),
        timeouts=Timeouts(idle_s=0.4),
        takes=((0.35, 1.5),),
    ),
    _tcp(
        "tcp_not_idle_while_bytes_come",
        Stream(pieces=tuple(Piece(data=b"%d" % number, wait_s=0.25) for number in range(4))),
        timeouts=Timeouts(idle_s=0.5),
    ),
    _tcp("tcp_refused", LISTENS, upstreams=(DEAD,)),
    _tcp("tcp_refused_three_times", LISTENS, upstreams=(DEAD,), connects=3),
    _tcp(
        "tcp_second_host_is_alive",
        upstreams=(DEAD, ALIVE),
        connects=2,
        ordered=False,
        shares={},
        compares_replies=False,
    ),
    _tcp("tcp_no_pending_connections", LISTENS, limits=CircuitBreakingLimits(pending_requests_max=0)),
    _tcp(
        "tcp_connect_timeout",
        LISTENS,
        upstreams=(Upstream(name="u0", door=Door.SILENT),),
        timeouts=Timeouts(connect_s=0.3),
        takes=((0.28, 0.9),),
    ),
    _tcp("tcp_long", Stream(pieces=(Piece(data=b"0123456789" * 50_000),))),
    Case(
        name="tcp_no_endpoints",
        parts=(*service(endpoints=(), name="c", protocol=Protocol.TCP)[:1], outbound(protocol=Protocol.TCP)),
        steps=(LISTENS,),
    ),
)
