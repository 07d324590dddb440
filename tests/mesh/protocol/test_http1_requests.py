"""Requests: h11 reads the same messages; what h11 or llhttp let through and a smuggler could use is refused."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1 import MAX_HEAD_BYTES, BodyKind, BodyReader, RequestHead, RequestParser, ServerExchange

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"}
names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in SPECIAL).map(str.encode)
NO_VALUE = bytes([*range(9), *range(10, 32), 127])
values = st.binary(max_size=20).map(lambda data: data.translate(None, NO_VALUE).strip(b" \t"))
spaces = st.sampled_from([b" ", b"", b"\t ", b"  "])
lines = st.lists(st.tuples(names, spaces, values, spaces), max_size=12)
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND"])
targets = st.text("abc/?&=%20.-_~:@!$'()*+,;", max_size=30).map(lambda text: b"/" + text.encode())
connections = st.sampled_from([None, b"close", b"keep-alive", b"Keep-Alive", b"foo, close", b"foo"])
payloads = st.binary(max_size=40)


def chunked(payload: bytes, sizes: list[int]) -> bytes:
    framed, rest = b"", payload
    for size in sizes:
        piece, rest = rest[:size], rest[size:]
        if piece:
            framed += b"%x;a=b\r\n%b\r\n" % (len(piece), piece)
    if rest:
        framed += b"%X\r\n%b\r\n" % (len(rest), rest)
    return framed + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    head = [draw(methods) + b" " + draw(targets) + b" HTTP/" + version, b"Host: shop.mesh:8080"]
    head += [name + b":" + before + value + after for name, before, value, after in draw(lines)]
    connection = draw(connections)
    if connection is not None:
        head.append(b"connection: " + connection)
    framing = draw(st.sampled_from(["none", "length", "chunked" if version == b"1.1" else "length"]))
    payload = draw(payloads)
    if framing == "length":
        head.append(b"Content-Length: %d" % len(payload))
    elif framing == "chunked":
        head.append(draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])))
        payload = chunked(payload, draw(st.lists(st.integers(1, 5), max_size=4)))
    else:
        payload = b""
    return b"\r\n".join(head) + b"\r\n\r\n" + payload


def read_by_h11(data: bytes) -> tuple[h11.Request, bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return request, body


def parse(data: bytes) -> tuple[RequestHead, int]:
    found = RequestParser().parse(data)
    assert found is not None
    return found


@given(requests())
@settings(max_examples=150, deadline=None)
def test_h11_reads_the_same_request(data: bytes) -> None:
    theirs, their_body = read_by_h11(data)
    ours, size = parse(data)
    body, done, rest = BodyReader(ours.body, ours.body_length).decode(data[size:])
    assert (ours.method, ours.target, body, done, rest) == (theirs.method, theirs.target, their_body, True, b"")
    assert [(name.lower(), value) for name, value in ours.headers] == list(theirs.headers)
    assert ours.version == (11 if theirs.http_version == b"1.1" else 10)
    assert ours.path == ours.target.split(b"?")[0]
    options = (ours.header(b"connection") or b"").lower()
    assert ours.keep_alive == (b"close" not in options and (ours.version == 11 or b"keep-alive" in options))


@given(requests(), requests(), st.data())
@settings(max_examples=80, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_requests(first: bytes, second: bytes, data: st.DataObject) -> None:
    stream = first + second
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    whole = ServerExchange().receive_data(stream)
    split = ServerExchange()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    arrived = [request for piece in pieces for request in split.receive_data(piece)]
    assert [(r.head.target, r.head.headers, r.body) for r in arrived] == [
        (r.head.target, r.head.headers, r.body) for r in whole
    ]
    assert len(whole) == 2


@given(requests())
@settings(max_examples=40, deadline=None)
def test_a_head_is_incomplete_until_its_last_byte(data: bytes) -> None:
    parser = RequestParser()
    _, size = parse(data)
    for end in range(size):
        assert parser.parse(data[:end]) is None
    assert parser.parse(data[:size]) is not None


@given(
    st.binary(max_size=120)
    | st.builds(lambda a, b: b"GET / HTTP/1.1\r\n" + a + b + b"\r\n\r\n", st.binary(), st.binary())
)
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_remote_protocol_error(data: bytes) -> None:
    exchange = ServerExchange()
    status = 400
    try:
        exchange.receive_data(data)
        exchange.receive_data(b"\r\n\r\n")
    except RemoteProtocolError as error:
        status = error.status
    assert status in (400, 414, 431, 501, 505)


@given(requests(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_raises_only_remote_protocol_error(request: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(request) - 1))
    broken = request[:place] + bytes([data.draw(st.integers(0, 255))]) + request[place + 1 :]
    try:
        ServerExchange().receive_data(broken)
    except RemoteProtocolError:
        pass


def with_field(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields]) + b"\r\n\r\n"


HOSTILE = {
    "two hosts": (with_field(b"host: b"), 400),
    "two equal hosts": (with_field(b"host: a"), 400),
    "no host": (with_field(host=b""), 400),
    "host with a space": (with_field(host=b"Host: a b"), 400),
    "host list": (with_field(host=b"Host: a,b"), 400),
    "host with a path": (with_field(host=b"Host: a/b"), 400),
    "host with a user": (with_field(host=b"Host: u@a"), 400),
    "two spaces": (with_field(line=b"GET  / HTTP/1.1"), 400),
    "space at the end": (with_field(line=b"GET / HTTP/1.1 "), 400),
    "tab for space": (with_field(line=b"GET\t/ HTTP/1.1"), 400),
    "space in the target": (with_field(line=b"GET /a b HTTP/1.1"), 400),
    "fragment": (with_field(line=b"GET /#a HTTP/1.1"), 400),
    "HTTP/2.0": (with_field(line=b"GET / HTTP/2.0"), 505),
    "HTTP/1.2": (with_field(line=b"GET / HTTP/1.2"), 400),
    "CONNECT of HTTP/0.9": (b"CONNECT a:1\r\n\r\n", 400),
    "only empty lines": (b"\r\n\r\n", 400),
    "HTTP/0.9": (with_field(line=b"GET /"), 400),
    "HTTP/0.9 with a version in a field": (b"GET /\r\nX: HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "lower-case version": (with_field(line=b"GET / http/1.1"), 400),
    "other protocol": (with_field(line=b"SOURCE /a ICE/1.0"), 400),
    "unknown method": (with_field(line=b"FROB / HTTP/1.1"), 501),
    "invalid method": (with_field(line=b"G(T / HTTP/1.1"), 400),
    "relative target": (with_field(line=b"GET a HTTP/1.1"), 400),
    "asterisk": (with_field(line=b"GET * HTTP/1.1"), 400),
    "other scheme": (with_field(line=b"GET ftp://a/ HTTP/1.1"), 400),
    "user in the target": (with_field(line=b"GET http://u@a/ HTTP/1.1"), 400),
    "CONNECT without a port": (with_field(line=b"CONNECT a HTTP/1.1"), 400),
    "CONNECT to a path": (with_field(line=b"CONNECT /a HTTP/1.1"), 400),
    "CONNECT with a body": (with_field(b"Content-Length: 3", line=b"CONNECT a:1 HTTP/1.1"), 400),
    "gzip, chunked": (with_field(b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked, gzip": (with_field(b"Transfer-Encoding: chunked, gzip"), 400),
    "gzip": (with_field(b"Transfer-Encoding: gzip"), 400),
    "chunked twice": (with_field(b"Transfer-Encoding: chunked, chunked"), 400),
    "two transfer-encodings": (with_field(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "transfer-encoding with a vertical tab": (with_field(b"Transfer-Encoding: \x0bchunked"), 400),
    "quoted chunked": (with_field(b'Transfer-Encoding: "chunked"'), 400),
    "xchunked": (with_field(b"Transfer-Encoding: xchunked"), 400),
    "chunked and length": (with_field(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    "length and chunked": (with_field(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400),
    "chunked in HTTP/1.0": (with_field(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), 400),
    "two lengths": (with_field(b"Content-Length: 5", b"Content-Length: 6"), 400),
    "two equal lengths": (with_field(b"Content-Length: 5", b"content-length: 5"), 400),
    "length list": (with_field(b"Content-Length: 5, 5"), 400),
    "signed length": (with_field(b"Content-Length: +5"), 400),
    "negative length": (with_field(b"Content-Length: -5"), 400),
    "hexadecimal length": (with_field(b"Content-Length: 0x5"), 400),
    "length with an underscore": (with_field(b"Content-Length: 1_0"), 400),
    "empty length": (with_field(b"Content-Length:"), 400),
    "huge length": (with_field(b"Content-Length: 9999999999999999999"), 400),
    "folded line": (with_field(b"X: a", b" b"), 400),
    "folded first line": (with_field(b" X: a", host=b""), 400),
    "space before the colon": (with_field(b"X : a"), 400),
    "transfer-encoding with a space before the colon": (with_field(b"Transfer-Encoding : chunked"), 400),
    "tab before the colon": (with_field(b"X\t: a"), 400),
    "no colon": (with_field(b"X"), 400),
    "empty name": (with_field(b": a"), 400),
    "name with a bracket": (with_field(b"X(: a"), 400),
    "name beyond ASCII": (with_field(b"X\x80: a"), 400),
    "NUL in a value": (with_field(b"X: a\0b"), 400),
    "control character in a value": (with_field(b"X: a\x01"), 400),
    "DEL in a value": (with_field(b"X: a\x7f"), 400),
    "bare LF": (with_field(b"X: a\nY: b"), 400),
    "bare CR": (with_field(b"X: a\rY: b"), 400),
    "bare LF ends the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "only LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "two empty lines first": (b"\r\n\r\n" + with_field(), 400),
    "LF first": (b"\n" + with_field(), 400),
    "connection names content-length": (with_field(b"Connection: content-length", b"Content-Length: 0"), 400),
    "connection names host": (with_field(b"Connection: Host"), 400),
    "connection names x-forwarded-for": (with_field(b"Connection: close, X-Forwarded-For"), 400),
    "connection is no list of names": (with_field(b"Connection: a b"), 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "101 fields": (with_field(*[b"X: %d" % n for n in range(100)]), 431),
    "long head": (with_field(b"X: " + b"a" * MAX_HEAD_BYTES), 431),
    "endless head": (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES, 431),
    "endless target": (b"GET /" + b"a" * MAX_HEAD_BYTES, 414),
    "endless method": (b"G" * 100, 400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_is_refused(name: str) -> None:
    data, status = HOSTILE[name]
    with pytest.raises(RemoteProtocolError) as refusal:
        RequestParser().parse(data)
    assert refusal.value.status == status, refusal.value


@pytest.mark.parametrize("code", range(256))
def test_every_byte_of_target_name_and_value_is_judged(code: int) -> None:
    """Guards what is left to llhttp, whatever its version."""
    byte = bytes([code])

    def accepted(data: bytes) -> bool:
        try:
            return RequestParser().parse(data) is not None
        except RemoteProtocolError:
            return False

    assert accepted(b"GET /a" + byte + b"c HTTP/1.1\r\nHost: a\r\n\r\n") == (0x21 <= code <= 0x7E and byte != b"#")
    assert accepted(with_field(b"X" + byte + b"y: a")) == (byte.decode("latin-1") in TOKEN or byte == b":")
    assert accepted(with_field(b"X: a" + byte + b"b")) == (code == 9 or (0x20 <= code != 0x7F))


def test_parser_reads_one_request_after_another() -> None:
    """Whatever a request leaves behind in llhttp, the next one is read afresh."""
    parser = RequestParser()
    for data, body in [
        (with_field(), BodyKind.NONE),
        (with_field(b"Content-Length: 3"), BodyKind.LENGTH),
        (with_field(), BodyKind.NONE),
        (with_field(b"Transfer-Encoding: chunked"), BodyKind.CHUNKED),
        (with_field(b"Upgrade: websocket", b"Connection: upgrade"), BodyKind.NONE),
        (with_field(b"Connection: close"), BodyKind.NONE),
        (with_field(line=b"CONNECT a:1 HTTP/1.1"), BodyKind.NONE),
        (with_field(line=b"GET / HTTP/1.0"), BodyKind.NONE),
        (b"\r\n" + with_field(line=b"CONNECT a:1 HTTP/1.1"), BodyKind.NONE),
        (with_field(b"Content-Length: 0"), BodyKind.NONE),
        (with_field(line=b"PURGE / HTTP/1.1"), BodyKind.NONE),
        (with_field(), BodyKind.NONE),
    ]:
        found = parser.parse(data + b"next")
        assert found is not None
        assert (found[0].body, found[1], found[0].host[:1]) == (body, len(data), b"a")


def test_fields_of_interest_are_captured() -> None:
    head, _ = parse(
        with_field(
            b"X-Request-ID:  abc ",
            b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"TraceState: a=b",
            b"tracestate: c=d",
            b"X-Forwarded-For: 1.2.3.4",
            b"Cookie: a=1",
            b"Cookie: b=2",
            b"Expect: 100-Continue",
            b"Upgrade: websocket",
            b"Connection: keep-alive, Upgrade",
        )
    )
    assert head.request_id == b"abc"
    assert head.traceparent == b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert head.tracestate == b"a=b, c=d"
    assert head.forwarded_for == b"1.2.3.4"
    assert head.header(b"cookie") == b"a=1; b=2"
    assert head.header(b"absent") is None
    assert head.expect_continue
    assert head.keep_alive
    assert head.upgrade == b"websocket"


def test_upgrade_needs_the_connection_option_and_http_1_1() -> None:
    assert parse(with_field(b"Upgrade: websocket"))[0].upgrade is None
    old = with_field(b"Upgrade: websocket", b"Connection: upgrade", b"Expect: 100-continue", line=b"GET / HTTP/1.0")
    assert parse(old)[0].upgrade is None
    assert not parse(old)[0].expect_continue


def test_repeated_traceparent_is_void() -> None:
    assert parse(with_field(b"traceparent: a", b"Traceparent: b"))[0].traceparent is None


@pytest.mark.parametrize(
    ("line", "path", "host"),
    [
        (b"GET http://b:8080/x?y HTTP/1.1", b"/x", b"b:8080"),
        (b"GET HTTP://b?y HTTP/1.1", b"/", b"b"),
        (b"OPTIONS http://b HTTP/1.1", b"*", b"b"),
        (b"OPTIONS * HTTP/1.1", b"*", b"a"),
        (b"CONNECT [::1]:443 HTTP/1.1", b"[::1]:443", b"[::1]:443"),
        (b"GET // HTTP/1.1", b"//", b"a"),
    ],
)
def test_target_forms(line: bytes, path: bytes, host: bytes) -> None:
    head, _ = parse(with_field(line=line))
    assert (head.path, head.host, head.target) == (path, host, line.split()[1])
