"""On the wire: breaks at each stage, garbage, framing, early answers, expectations, limits, clients that leave."""

from mesh.policy.timeout import Timeouts
from tests.envoy.case import Case, plain, single
from tests.envoy.script import (
    Answer,
    Door,
    Framing,
    Pause,
    Piece,
    Stage,
    Talk,
    Turn,
    Upstream,
    get,
    pieces,
    post,
    request,
    talk,
)

LONG = b"0123456789" * 20_000
POST_HEAD = b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 8\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nhost: svc\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n"


def _raw(name: str, data: bytes, **other: object) -> Case:
    """Bytes of a client that may be no request at all."""
    return single(name, steps=(talk(pieces(data), lingers_s=2.0),), **other)  # type: ignore[arg-type]


def _leaves(turn: Turn, after_s: float, *, resets: bool = False) -> Talk:
    return Talk(turns=(turn,), leaves_after_s=after_s, resets=resets)


RECORDED = (
    single(
        "baseline", Answer(headers=(("x-up", "1"),)), steps=(get("/", "user-agent: t", "x-forwarded-for: 1.2.3.4"),)
    ),
    single(
        "client_header_retry",
        Answer(status=503, body=b""),
        steps=(get("/", "x-forwarded-for: 1.2.3.4", "x-envoy-retry-on: 5xx", "x-envoy-max-retries: 2"),),
    ),
    single(
        "upstream_garbage",
        Answer(raw=b"garbage\r\n\r\n"),
        steps=(get(), post(b"frame", "content-type: application/grpc")),
    ),
    single("upstream_truncated_body", Answer(body=b"abc", length=10, ends=Stage.WHOLE)),
    single("headers_too_big", steps=(talk(request("GET", "/", "x-big: " + "a" * 70_000), lingers_s=2.0),)),
    Case(name="connect_refused", parts=plain("u0"), upstreams=(Upstream(name="u0", door=Door.SHUT),), steps=(get(),)),
    _raw("slow_client_bad_request", b"GET / HTTP/1.1\r\n\r\n"),
    _raw(
        "slow_client_both_te_cl",
        b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
)

BREAKS = (
    *(
        single(
            f"break_{stage.value}_by_{'reset' if resets else 'end'}",
            Answer(body=b"0123456789", ends=stage, resets=resets),
        )
        for stage in Stage
        for resets in (False, True)
    ),
    single("break_chunked_half", Answer(body=b"0123456789", framing=Framing.CHUNKED, ends=Stage.HALF)),
    single("break_post_before_the_head", Answer(ends=Stage.REQUEST), steps=(post(),)),
    single("break_head_half_written", Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-le", ends=Stage.WHOLE)),
    single("garbage_status_line", Answer(raw=b"HTTP/1.1 abc OK\r\n\r\n")),
    single(
        "garbage_after_a_response",
        Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiGARBAGE"),
        steps=(get(), get("/2")),
    ),
    single(
        "garbage_chunk_size", Answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n")
    ),
    single("response_headers_too_big", Answer(headers=(("x-big", "a" * 70_000),))),
    single("response_with_many_headers", Answer(headers=tuple((f"x-{number}", "v") for number in range(120)))),
    single(
        "response_with_length_and_chunks",
        Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    ),
    single(
        "response_with_two_lengths",
        Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!"),
    ),
)

FRAMING = (
    single("body_chunked", Answer(body=b"0123456789", framing=Framing.CHUNKED, half_wait_s=0.1)),
    single("body_until_close", Answer(body=b"0123456789", framing=Framing.CLOSE)),
    single("body_long", Answer(body=LONG)),
    single("body_empty", Answer(body=b"")),
    single("body_slow", Answer(body=b"0123456789", body_wait_s=0.15, half_wait_s=0.15)),
    single("post_long", steps=(post(LONG),)),
    single(
        "post_chunked",
        steps=(talk(pieces(CHUNKED_HEAD + b"4\r\nbody\r\n", (0.1, b"4\r\nmore\r\n0\r\n\r\n"), method="POST")),),
    ),
    single("post_in_pieces", steps=(talk(pieces(POST_HEAD, (0.1, b"body"), (0.1, b"more"), method="POST")),)),
    single("post_empty", steps=(talk(request("POST", "/", "content-length: 0")),)),
    single("head", steps=(talk(request("HEAD"), request("GET", "/2")),)),
    single(
        "head_of_a_chunked_response",
        Answer(framing=Framing.CHUNKED),
        steps=(talk(request("HEAD"), request("GET", "/2")),),
    ),
    single("status_204", Answer(status=204, body=b""), steps=(talk(request(), request("GET", "/2")),)),
    single(
        "status_304",
        Answer(status=304, body=b"", headers=(("etag", '"1"'),)),
        steps=(talk(request(), request("GET", "/2")),),
    ),
    single(
        "status_304_with_a_length",
        Answer(status=304, body=b"", length=500),
        steps=(talk(request(), request("GET", "/2")),),
    ),
    single(
        "status_205_and_others",
        Answer(status=205, body=b""),
        Answer(status=299),
        Answer(status=418),
        Answer(status=599),
        steps=(get(), get(), get(), get()),
    ),
    single(
        "response_http_1_0", Answer(raw=b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi"), steps=(get(), get("/2"))
    ),
    single("response_http_1_0_without_length", Answer(raw=b"HTTP/1.0 200 OK\r\n\r\nhi", ends=Stage.WHOLE)),
    single(
        "response_says_close", Answer(headers=(("connection", "close"),), ends=Stage.WHOLE), steps=(get(), get("/2"))
    ),
    single("interim_103", Answer(interim=(103,))),
    single("interim_100_unasked", Answer(interim=(100,))),
    single(
        "headers_hop_by_hop",
        Answer(headers=(("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("x-stays", "1"))),
        steps=(
            get(
                "/",
                "connection: keep-alive, x-hop",
                "x-hop: 1",
                "keep-alive: 5",
                "proxy-connection: keep-alive",
                "te: trailers",
                "x-stays: 1",
            ),
        ),
    ),
    single(
        "headers_repeated",
        Answer(headers=(("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-two", "1"), ("x-two", "2"))),
        steps=(get("/", "x-many: 1", "x-many: 2", "cookie: a=1", "cookie: b=2"),),
    ),
    single(
        "headers_of_proxies_before",
        steps=(
            get(
                "/",
                "x-forwarded-proto: https",
                "x-forwarded-host: h",
                "via: 1.1 a",
                "x-request-id: from-the-client",
                "x-envoy-internal: true",
            ),
        ),
    ),
    single(
        "headers_upper_case_and_empty",
        Answer(headers=(("X-Upper", "Value"), ("x-empty", ""))),
        steps=(get("/", "X-Upper: Value", "x-empty:"),),
    ),
)

EXPECTATIONS = (
    single(
        "expect_100_continue", Answer(interim=(100,)), steps=(talk(pieces(EXPECTING, (0.3, b"body"), method="POST")),)
    ),
    single(
        "expect_100_continue_refused_early",
        Answer(status=417, early=True, body=b"no"),
        steps=(talk(pieces(EXPECTING, (0.3, b"body"), method="POST")),),
    ),
    single("expect_something_else", steps=(get("/", "expect: wonders"),)),
    single(
        "early_response_to_a_streamed_post",
        Answer(early=True, status=413, body=b"large"),
        steps=(Talk(turns=(pieces(POST_HEAD + b"body", (0.4, b"more"), method="POST"),), lingers_s=2.5),),
    ),
    single(
        "early_response_and_the_rest_never_comes",
        Answer(early=True, status=200, body=b"enough"),
        steps=(Talk(turns=(pieces(POST_HEAD + b"body", method="POST"),), lingers_s=2.5),),
    ),
)

REQUESTS = (
    _raw("request_without_host", b"GET / HTTP/1.1\r\nx: y\r\n\r\n"),
    _raw("request_with_two_hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    _raw("request_garbage", b"\x00\x01\x02\x03 garbage\r\n\r\n"),
    _raw("request_bad_header_name", b"GET / HTTP/1.1\r\nhost: svc\r\nbad name: x\r\n\r\n"),
    _raw("request_space_before_the_colon", b"GET / HTTP/1.1\r\nhost: svc\r\nname : x\r\n\r\n"),
    _raw("request_two_lengths", b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody"),
    _raw("request_bad_length", b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: -4\r\n\r\n"),
    _raw("request_bad_chunk", CHUNKED_HEAD + b"zz\r\nbody\r\n"),
    _raw("request_unknown_coding", b"POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: gzip\r\n\r\n"),
    _raw("request_http_1_0", b"GET / HTTP/1.0\r\nhost: svc\r\n\r\n"),
    _raw("request_http_2_0", b"GET / HTTP/2.0\r\nhost: svc\r\n\r\n"),
    _raw("request_absolute_target", b"GET http://other.example/x?q=1 HTTP/1.1\r\nhost: svc\r\n\r\n"),
    _raw("request_asterisk", b"OPTIONS * HTTP/1.1\r\nhost: svc\r\n\r\n"),
    _raw("request_connect", b"CONNECT svc:80 HTTP/1.1\r\nhost: svc:80\r\n\r\n"),
    _raw("request_unknown_method", b"BREW / HTTP/1.1\r\nhost: svc\r\n\r\n"),
    _raw(
        "request_with_101_headers",
        b"GET / HTTP/1.1\r\nhost: svc\r\n" + b"".join(b"x-%d: v\r\n" % n for n in range(100)) + b"\r\n",
    ),
    _raw(
        "request_with_100_headers",
        b"GET / HTTP/1.1\r\nhost: svc\r\n" + b"".join(b"x-%d: v\r\n" % n for n in range(90)) + b"\r\n",
    ),
    _raw("request_with_a_fragment", b"GET /x#frag HTTP/1.1\r\nhost: svc\r\n\r\n"),
    _raw("request_says_close", b"GET / HTTP/1.1\r\nhost: svc\r\nconnection: close\r\n\r\n"),
    _raw("request_after_empty_lines", b"\r\n\r\nGET / HTTP/1.1\r\nhost: svc\r\n\r\n"),
    _raw("request_folded_header", b"GET / HTTP/1.1\r\nhost: svc\r\nx-a: b\r\n c\r\n\r\n"),
    single(
        "requests_pipelined",
        steps=(
            Talk(
                turns=(
                    Turn(
                        pieces=(
                            Piece(data=b"GET /1 HTTP/1.1\r\nhost: svc\r\n\r\nGET /2 HTTP/1.1\r\nhost: svc\r\n\r\n"),
                        )
                    ),
                    Turn(pieces=()),
                )
            ),
        ),
    ),
    single("keep_alive_five_requests", steps=(talk(*(request("GET", f"/{number}") for number in range(5))),)),
    single(
        "upgrade_websocket",
        Answer(raw=b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", ends=Stage.WHOLE),
        steps=(get("/", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x"),),
    ),
    single("upgrade_unknown", steps=(get("/", "connection: upgrade", "upgrade: h2c"),)),
)

LEAVERS = (
    single("client_leaves_while_waiting", Answer(wait_s=1.0), steps=(_leaves(request(), 0.2), Pause(seconds=0.3))),
    single(
        "client_resets_while_waiting",
        Answer(wait_s=1.0),
        steps=(_leaves(request(), 0.2, resets=True), Pause(seconds=0.3)),
    ),
    single(
        "client_leaves_in_the_response",
        Answer(body=b"0123456789", half_wait_s=1.0),
        steps=(_leaves(request(), 0.3), Pause(seconds=0.3)),
    ),
    single(
        "client_leaves_in_the_request",
        steps=(_leaves(pieces(POST_HEAD + b"body", method="POST"), 0.2), Pause(seconds=0.3)),
    ),
    single("client_leaves_before_the_request_is_whole", steps=(_leaves(pieces(b"GET / HT"), 0.1), Pause(seconds=0.2))),
    single(
        "keep_alive_race_upstream_has_closed", Answer(ends=Stage.WHOLE), steps=(get(), Pause(seconds=0.2), get("/2"))
    ),
    single(
        "keep_alive_race_upstream_resets_on_the_second",
        Answer(),
        Answer(ends=Stage.REQUEST, resets=True),
        steps=(get(), get("/2")),
    ),
    single("upstream_said_close_and_stays", Answer(headers=(("connection", "close"),)), steps=(get(), get("/2"))),
    single("upstream_slow_to_answer", Answer(wait_s=0.5), takes=((0.48, 1.2),)),
    single(
        "upstream_timeout_leaves_no_connection",
        Answer(wait_s=0.6),
        Answer(),
        timeouts=Timeouts(request_s=0.2),
        steps=(get(), Pause(seconds=0.6), get("/2")),
    ),
)
CASES = RECORDED + BREAKS + FRAMING + EXPECTATIONS + REQUESTS + LEAVERS
