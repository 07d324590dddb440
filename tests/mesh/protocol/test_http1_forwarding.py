"""Sending on: the next hop reads the same message, minus what ends at this hop, plus what we add."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.protocol.http1 import BodyKind, RequestHead, RequestParser, ResponseHead, ResponseParser
from mesh.protocol.http1.writing import encode_lines

HOP_BY_HOP = [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade"]
OTHERS = [b"accept", b"Cookie", b"X-Request-Id", b"x-envoy-retry-on", b"Via", b"Trailer", b"X%s", b"x-forwarded-for"]
fields = st.lists(
    st.tuples(st.sampled_from(HOP_BY_HOP[1:] + OTHERS), st.sampled_from([b"a", b"a, b", b"", b"%s%%", b"\xff "])),
    max_size=8,
)
removals = st.sets(st.sampled_from([b"x-request-id", b"x-envoy-*", b"via", b"absent", b"x-*"])).map(frozenset)
nominations = st.sampled_from([None, b"close", b"keep-alive", b"Via", b"x%s, cookie", b"upgrade, TE"])


def request(*lines: bytes, line: bytes = b"GET /a?b HTTP/1.1") -> RequestHead:
    found = RequestParser().parse(b"\r\n".join([line, *lines, b"", b""]))
    assert found is not None
    return found[0]


def response(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    found = ResponseParser().parse(b"\r\n".join([line, *lines, b"", b""]), method)
    assert found is not None
    return found[0]


def expected(
    sent: list[tuple[bytes, bytes]], nomination: bytes | None, remove: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """Do it the slow way: judge each field by itself."""
    gone = {name.lower() for name in HOP_BY_HOP}
    gone |= {option.strip().lower() for option in (nomination or b"").split(b",")}

    def goes_on(name: bytes) -> bool:
        removed = any(name == r or (r.endswith(b"*") and name.startswith(r[:-1])) for r in remove)
        return name not in gone and not removed

    return [(name, value.strip()) for name, value in sent if goes_on(name.lower())]


@given(fields, nominations, removals, st.booleans())
@settings(max_examples=200, deadline=None)
def test_next_hop_reads_the_request_minus_hop_by_hop(
    sent: list[tuple[bytes, bytes]], nomination: bytes | None, remove: frozenset[bytes], chunked: bool
) -> None:
    sent = [(b"Host", b"a"), *sent, *([(b"Transfer-Encoding", b"chunked")] if chunked else [])]
    connection = [] if nomination is None else [b"Connection: " + nomination]
    head = request(*[b"%b: %b" % field for field in sent], *connection)
    extra = encode_lines([(b"x-added", b"1")])
    received, size = RequestParser().parse(head.forward(extra=extra, remove=remove)) or pytest.fail("incomplete")
    assert received.headers == [*expected(sent, nomination, remove), (b"x-added", b"1")]
    assert (received.method, received.target, received.host) == (head.method, head.target, head.host)
    assert received.body is head.body
    assert size == len(head.forward(extra=extra, remove=remove))


@given(fields, nominations, removals, st.booleans())
@settings(max_examples=150, deadline=None)
def test_next_hop_reads_the_response_minus_hop_by_hop(
    sent: list[tuple[bytes, bytes]], nomination: bytes | None, remove: frozenset[bytes], close: bool
) -> None:
    sent = [*sent, (b"Content-Length", b"5")]
    connection = [] if nomination is None else [b"Connection: " + nomination]
    head = response(*[b"%b: %b" % field for field in sent], *connection, line=b"HTTP/1.0 503 Out %s of")
    received, _ = ResponseParser().parse(head.forward(connection_close=close, remove=remove)) or pytest.fail(
        "incomplete"
    )
    added = [(b"connection", b"close")] if close else []
    assert received.headers == expected(sent, nomination, remove) + added
    assert (received.status, received.reason, received.version) == (503, b"Out %s of", 11)
    assert received.keep_alive == (not close)


def test_traceparent_takes_the_place_of_the_peers() -> None:
    head = request(b"Host: a", b"TraceParent: old", b"X: 1")
    assert head.forward(traceparent=b"new") == b"GET /a?b HTTP/1.1\r\nHost: a\r\nTraceParent: new\r\nX: 1\r\n\r\n"
    assert head.forward() == b"GET /a?b HTTP/1.1\r\nHost: a\r\nTraceParent: old\r\nX: 1\r\n\r\n"


def test_traceparent_is_added_where_there_is_none_or_it_is_removed() -> None:
    expected = b"GET /a?b HTTP/1.1\r\nHost: a\r\ntraceparent: new\r\n\r\n"
    assert request(b"Host: a").forward(traceparent=b"new") == expected
    removed = request(b"Host: a", b"Traceparent: old").forward(traceparent=b"new", remove=frozenset({b"traceparent"}))
    assert removed == expected


def test_repeated_traceparent_goes_on_once() -> None:
    head = request(b"Host: a", b"traceparent: x", b"Traceparent: y")
    assert head.forward(traceparent=b"new") == b"GET /a?b HTTP/1.1\r\nHost: a\r\ntraceparent: new\r\n\r\n"


def test_absolute_target_goes_on_in_origin_form_with_its_own_host() -> None:
    head = request(b"Host: evil", line=b"GET http://b:80?x=http://c HTTP/1.1")
    assert head.forward() == b"GET /?x=http://c HTTP/1.1\r\nHost: b:80\r\n\r\n"


def test_http_1_0_goes_on_as_1_1_with_a_host() -> None:
    assert request(line=b"GET / HTTP/1.0").forward() == b"GET / HTTP/1.1\r\nhost: \r\n\r\n"
    assert request(line=b"GET http://b/ HTTP/1.0").forward() == b"GET / HTTP/1.1\r\nhost: b\r\n\r\n"


def test_upgrade_goes_on_only_when_asked_for() -> None:
    head = request(b"Host: a", b"Upgrade: websocket", b"Connection: upgrade")
    assert head.forward() == b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (
        head.forward(upgrade=True)
        == b"GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )


def test_only_trailers_of_te_go_on() -> None:
    head = request(b"Host: a", b"TE: gzip;q=0.5, Trailers", b"Connection: TE")
    assert head.forward() == b"GET /a?b HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
    assert request(b"Host: a", b"TE: gzip").forward() == b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"


def test_obfuscated_chunked_goes_on_in_plain_spelling() -> None:
    head = request(b"Host: a", b"Transfer-Encoding:\tChunKed ")
    assert head.body is BodyKind.CHUNKED
    assert head.forward() == b"GET /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_framing_does_not_go_on_where_no_body_can_be() -> None:
    assert response(b"Content-Length: 5", line=b"HTTP/1.1 204 None").forward() == b"HTTP/1.1 204 None\r\n\r\n"
    of_head = response(b"Content-Length: 5", method=b"HEAD").forward()
    assert of_head == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def test_decoded_body_goes_on_without_chunks() -> None:
    head = response(b"Transfer-Encoding: chunked", b"Trailer: a", b"X: 1")
    assert head.forward(decoded=True, connection_close=True) == b"HTTP/1.1 200 OK\r\nX: 1\r\nconnection: close\r\n\r\n"


def test_heads_with_the_same_names_do_not_share_values() -> None:
    parser = RequestParser()
    heads = [parser.parse(b"GET /%d HTTP/1.1\r\nHost: h%d\r\nX: %d\r\n\r\n" % (n, n, n)) for n in range(3)]
    written = [found[0].forward() for found in heads if found]
    assert written == [b"GET /%d HTTP/1.1\r\nHost: h%d\r\nX: %d\r\n\r\n" % (n, n, n) for n in range(3)]
