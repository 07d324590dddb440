"""Responses: h11 reads the same messages; the request's method and the status decide about the body."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1 import BodyKind, BodyReader, ClientExchange, ResponseHead, ResponseParser

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = {"content-length", "transfer-encoding", "connection", "upgrade"}
names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in SPECIAL).map(str.encode)
NO_VALUE = bytes([*range(9), *range(10, 32), 127])
values = st.binary(max_size=20).map(lambda data: data.translate(None, NO_VALUE).strip(b" \t"))
lines = st.lists(st.tuples(names, values), max_size=10)
methods = st.sampled_from([b"GET", b"HEAD", b"POST"])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 200, 204, 304, 404, 503, 599]))
    reason = draw(st.sampled_from([b" OK", b" Not So Good", b" ", b""]))
    head = [b"HTTP/1.1 %d%b" % (status, reason)]
    head += [name + b": " + value for name, value in draw(lines)]
    connection = draw(st.sampled_from([None, b"close", b"keep-alive", b"foo, close"]))
    if connection is not None:
        head.append(b"connection: " + connection)
    payload = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        head.append(b"Content-Length: %d" % len(payload))
    elif framing == "chunked":
        head.append(b"Transfer-Encoding: chunked")
        payload = (b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b"") + b"0\r\nx-trailer: 1\r\n\r\n"
    return b"\r\n".join(head) + b"\r\n\r\n" + payload


def read_by_h11(method: bytes, data: bytes) -> tuple[h11.Response, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data) or event is h11.NEED_DATA:
        if event is h11.NEED_DATA:
            connection.receive_data(b"")
        else:
            body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response, body


def parse(data: bytes, method: bytes = b"GET") -> tuple[ResponseHead, int]:
    found = ResponseParser().parse(data, method)
    assert found is not None
    return found


@given(methods, responses())
@settings(max_examples=150, deadline=None)
def test_h11_reads_the_same_response(method: bytes, data: bytes) -> None:
    theirs, their_body = read_by_h11(method, data)
    ours, size = parse(data, method)
    body, done, _ = BodyReader(ours.body, ours.body_length).decode(data[size:])
    assert (ours.status, body) == (theirs.status_code, their_body)
    assert ours.reason == theirs.reason
    assert [(name.lower(), value) for name, value in ours.headers] == list(theirs.headers)
    assert done == (ours.body is not BodyKind.UNTIL_CLOSE)
    closes = b"close" in (ours.header(b"connection") or b"")
    assert ours.keep_alive == (done and not closes)


@given(methods, responses(), st.data())
@settings(max_examples=80, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_response(method: bytes, stream: bytes, data: st.DataObject) -> None:
    def read(pieces: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        exchange = ClientExchange()
        exchange.expect(method)
        for piece in pieces:
            if (response := exchange.receive_data(piece)) is not None:
                return response.head.status, response.head.headers, response.body
        response = exchange.receive_eof()
        return response.head.status, response.head.headers, response.body

    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    stream = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + stream
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == read([stream])


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_remote_protocol_error(data: bytes) -> None:
    status = 502
    try:
        ResponseParser().parse(data)
    except RemoteProtocolError as error:
        status = error.status
    assert status == 502


HOSTILE = {
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "short status": b"HTTP/1.1 99 OK\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\n\r\n",
    "control character in the reason": b"HTTP/1.1 200 O\x01K\r\n\r\n",
    "bare CR in the reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nX: a\r\n\r\n",
    "only LF": b"HTTP/1.1 200 OK\nX: a\n\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "101 fields": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "endless": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 61440,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_response_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        ResponseParser().parse(HOSTILE[name])
    assert refusal.value.status == 502


LENGTH = b"content-length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "data", "body"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\n" + LENGTH, BodyKind.LENGTH),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n" + LENGTH, BodyKind.NONE),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + LENGTH, BodyKind.NONE),
        (b"GET", b"HTTP/1.1 204 No Content\r\n" + LENGTH, BodyKind.NONE),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", BodyKind.NONE),
        (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n", BodyKind.NONE),
        (b"GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", BodyKind.NONE),
        (b"GET", b"HTTP/1.1 200 OK\r\n\r\n", BodyKind.UNTIL_CLOSE),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n", BodyKind.NONE),
        (b"CONNECT", b"HTTP/1.1 200 OK\r\n" + LENGTH, BodyKind.NONE),
        (b"CONNECT", b"HTTP/1.1 403 Forbidden\r\n" + LENGTH, BodyKind.LENGTH),
        (b"CONNECT", b"HTTP/1.1 403 Forbidden\r\n\r\n", BodyKind.UNTIL_CLOSE),
    ],
)
def test_method_and_status_decide_about_the_body(method: bytes, data: bytes, body: BodyKind) -> None:
    head, _ = parse(data, method)
    assert head.body is body
    assert head.keep_alive == (body is not BodyKind.UNTIL_CLOSE)
    assert head.body_length == (5 if body is BodyKind.LENGTH else 0)


def test_interim_responses_are_visible_and_followed_by_the_final_one() -> None:
    parser = ResponseParser()
    stream = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    stream += b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    seen = []
    while stream:
        found = parser.parse(stream)
        assert found is not None
        seen.append((found[0].status, found[0].interim))
        stream = stream[found[1] :]
    assert seen == [(100, True), (103, True), (200, False)]


def test_switching_protocols_is_final() -> None:
    head, _ = parse(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert (head.interim, head.upgrade, head.body) == (False, b"websocket", BodyKind.NONE)
    assert head.forward() == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: upgrade\r\n\r\n"


def test_http_1_0_lives_on_only_if_asked_to() -> None:
    assert not parse(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n")[0].keep_alive
    assert parse(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n")[0].keep_alive
