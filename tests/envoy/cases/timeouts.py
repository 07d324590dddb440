"""Timeouts: of requests, streams, connections, headers, idle ones, and of making connections."""

from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, plain, single
from tests.envoy.script import Answer, Door, Pause, Upstream, get, pieces, request, talk

BROKEN_OFF = (0.28, 2.0)  # Envoy keeps a connection for a second before it ends it with a response cut off.
SLOW = Answer(wait_s=3.0)
HALF_A_HEAD = b"GET / HTTP/1.1\r\nhost: s"
HALF_A_BODY = b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 8\r\n\r\nbody"

CASES = (
    single("timeout", SLOW, timeouts=Timeouts(request_s=0.2), takes=((0.19, 0.5),)),
    single(
        "client_header_timeout",
        Answer(wait_s=0.6, body=b"slow"),
        steps=(get("/", "x-forwarded-for: 1.2.3.4", "x-envoy-upstream-rq-timeout-ms: 100"),),
    ),
    single(
        "timeout_header_of_the_client_beside_us",
        SLOW,
        steps=(get("/", "x-envoy-upstream-rq-timeout-ms: 200"),),
        takes=((0.19, 0.5),),
    ),
    single("timeout_off", Answer(wait_s=0.5), timeouts=Timeouts(request_s=0.0)),
    single(
        "timeout_in_the_middle_of_the_body",
        Answer(body=b"0123456789", half_wait_s=3.0),
        timeouts=Timeouts(request_s=0.3),
        takes=(BROKEN_OFF,),
    ),
    single(
        "timeout_starts_with_the_end_of_the_request",
        Answer(wait_s=0.3),
        timeouts=Timeouts(request_s=0.5),
        steps=(talk(pieces(HALF_A_BODY, (0.4, b"more"), method="POST")),),
    ),
    single("timeout_of_head_request", SLOW, timeouts=Timeouts(request_s=0.2), steps=(talk(request("HEAD")),)),
    single("max_stream_duration", SLOW, timeouts=Timeouts(stream_s_max=0.2), takes=((0.19, 0.5),)),
    single(
        "max_stream_duration_in_the_body",
        Answer(body=b"0123456789", half_wait_s=3.0),
        timeouts=Timeouts(stream_s_max=0.3),
        takes=(BROKEN_OFF,),
    ),
    single(
        "stream_idle_before_the_response",
        SLOW,
        timeouts=Timeouts(request_s=0.0, stream_idle_s=0.3),
        takes=((0.28, 0.7),),
    ),
    single(
        "stream_idle_in_the_response",
        Answer(body=b"0123456789", half_wait_s=3.0),
        timeouts=Timeouts(request_s=0.0, stream_idle_s=0.3),
        takes=(BROKEN_OFF,),
    ),
    single(
        "stream_idle_in_the_request",
        timeouts=Timeouts(request_s=0.0, stream_idle_s=0.3),
        steps=(talk(pieces(HALF_A_BODY, method="POST")),),
        takes=((0.28, 0.7),),
    ),
    single(
        "stream_not_idle_while_bytes_come",
        Answer(body=b"0123456789" * 4, wait_s=0.2, body_wait_s=0.2, half_wait_s=0.2),
        timeouts=Timeouts(request_s=0.0, stream_idle_s=0.35),
    ),
    single(
        "slow_client_half_headers",
        timeouts=Timeouts(request_headers_s=0.3),
        steps=(talk(pieces(HALF_A_HEAD), lingers_s=2.0),),
        takes=((0.28, 0.7),),
    ),
    single(
        "slow_client_headers_in_time",
        timeouts=Timeouts(request_headers_s=0.6),
        steps=(talk(pieces(HALF_A_HEAD, (0.3, b"vc\r\n\r\n"))),),
    ),
    single(
        "idle_connection_of_the_client_ends", timeouts=Timeouts(idle_s=0.3), steps=(talk(request(), lingers_s=7.0),)
    ),
    single(
        "idle_connection_that_never_asked_ends",
        timeouts=Timeouts(idle_s=0.3),
        steps=(talk(pieces(b""), lingers_s=2.0),),
        takes=((0.28, 0.8),),
    ),
    single(
        "connection_duration_ends_between_requests",
        timeouts=Timeouts(connection_s_max=0.4),
        steps=(talk(request(), request("GET", "/2", wait_s=0.1), lingers_s=7.0),),
    ),
    single(
        "connection_duration_ends_with_the_request_under_way",
        Answer(wait_s=0.6),
        timeouts=Timeouts(connection_s_max=0.3),
        steps=(talk(request(), lingers_s=7.0),),
    ),
    Case(
        name="connect_timeout",
        parts=plain("u0", timeouts=Timeouts(connect_s=0.3)),
        upstreams=(Upstream(name="u0", door=Door.SILENT),),
        steps=(get(),),
        takes=((0.28, 0.8),),
    ),
    Case(
        name="connect_timeout_after_the_timeout",
        parts=plain("u0", timeouts=Timeouts(connect_s=2.0, request_s=0.3)),
        upstreams=(Upstream(name="u0", door=Door.SILENT),),
        steps=(get(),),
        takes=((0.28, 0.8),),
    ),
    single(
        "upstream_idle_connection_is_not_used_again",
        timeouts=Timeouts(idle_s=0.5),
        steps=(get(), Pause(seconds=2.2), get("/2")),
    ),
)
