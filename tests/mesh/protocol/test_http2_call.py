"""One call after the other over HTTP/2, against the library's own server side."""

from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from mesh.model.errors import BrokenConnection, RemoteProtocolError
from mesh.protocol.http2_call import BODY_BYTES_MAX, CALL_BYTES_MAX, GoneAway, Http2Caller, Http2Response

REQUEST = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"svc"), (b":path", b"/")]
Answer = Callable[[h2.connection.H2Connection, int], None]


class Pair:
    """A caller and a server with a perfect network between them."""

    def __init__(self, *, piece: int = 65_536) -> None:
        self.caller = Http2Caller()
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.server.initiate_connection()
        self.requests: list[dict[bytes, bytes]] = []
        self.bodies = b""
        self.piece = piece

    def call(self, answer: Answer, body: bytes = b"") -> Http2Response | None:
        self.caller.call(REQUEST, body)
        return self.exchange(answer)

    def exchange(self, answer: Answer) -> Http2Response | None:
        response = None
        while out := self.caller.outgoing():
            for event in self.server.receive_data(out):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests.append(dict(event.headers or ()))
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies += event.data or b""
                elif isinstance(event, h2.events.StreamEnded):
                    answer(self.server, event.stream_id or 0)
            data = self.server.data_to_send()
            for start in range(0, len(data), self.piece):
                response = self.caller.receive(data[start : start + self.piece]) or response
        return response


def ok(server: h2.connection.H2Connection, stream: int) -> None:
    server.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
    server.send_data(stream, b"hello", end_stream=True)


@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_call_and_response(piece: int) -> None:
    pair = Pair(piece=piece)
    response = pair.call(ok, b"body")
    assert response is not None
    assert (response.status, response.body, response.trailers) == (200, b"hello", None)
    assert response.header(b"content-type") == b"text/plain"
    assert pair.requests[0][b":authority"] == b"svc"
    assert pair.bodies == b"body"


def test_one_connection_carries_one_call_after_the_other() -> None:
    pair = Pair()
    assert [pair.call(ok) is not None for _ in range(3)] == [True] * 3
    assert len(pair.requests) == 3


def test_trailers() -> None:
    def answer(server: h2.connection.H2Connection, stream: int) -> None:
        server.send_headers(stream, [(":status", "200")])
        server.send_data(stream, b"x")
        server.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    response = Pair().call(answer)
    assert response is not None
    assert response.trailer(b"grpc-status") == b"0"


def test_interim_responses_are_passed_over() -> None:
    def answer(server: h2.connection.H2Connection, stream: int) -> None:
        server.send_headers(stream, [(":status", "103")])
        ok(server, stream)

    response = Pair().call(answer)
    assert response is not None and response.status == 200


def test_a_reset_breaks_the_call() -> None:
    with pytest.raises(BrokenConnection, match="remote reset"):
        Pair().call(lambda server, stream: server.reset_stream(stream))


def test_a_server_that_goes_away_says_so() -> None:
    with pytest.raises(GoneAway):
        Pair().call(lambda server, stream: server.close_connection())


def test_a_server_that_went_away_between_calls_takes_no_more() -> None:
    pair = Pair()
    pair.call(ok)
    pair.server.close_connection()
    with pytest.raises(GoneAway):
        pair.caller.receive(pair.server.data_to_send())
    with pytest.raises(GoneAway):
        pair.caller.call(REQUEST)


def test_a_connection_error_is_no_going_away() -> None:
    with pytest.raises(BrokenConnection) as error:
        Pair().call(lambda server, stream: server.close_connection(error_code=1))
    assert not isinstance(error.value, GoneAway)


def test_a_body_beyond_the_limit_is_refused() -> None:
    pair = Pair()

    def answer(server: h2.connection.H2Connection, stream: int) -> None:
        server.send_headers(stream, [(":status", "200")])
        for _ in range(4):
            server.send_data(stream, b"x" * 16_000)

    pair.caller.call(REQUEST)
    pair.exchange(answer)
    pair.exchange(answer)  # the caller's room for more
    pair.server.send_data(1, b"x" * (BODY_BYTES_MAX - 64_000 + 1))
    with pytest.raises(RemoteProtocolError, match="too large"):
        pair.caller.receive(pair.server.data_to_send())


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64])
def test_what_is_not_http2_is_refused(garbage: bytes) -> None:
    pair = Pair()
    pair.caller.call(REQUEST)
    with pytest.raises(RemoteProtocolError):
        pair.caller.receive(garbage)


def test_a_call_without_end_is_refused() -> None:
    pair = Pair()
    pair.call(ok)
    pair.caller.call(REQUEST)
    ping = b"\x00\x00\x08\x06\x01\x00\x00\x00\x00" + b"x" * 8
    for _ in range(CALL_BYTES_MAX // 1700):
        pair.caller.receive(ping * 100)
    with pytest.raises(RemoteProtocolError, match="too many bytes"):
        pair.caller.receive(ping * 100)


def test_pushes_are_refused() -> None:
    pair = Pair()
    pair.call(ok)
    assert pair.server.remote_settings.enable_push == 0


@pytest.mark.parametrize("status", [b"abc", b"", b"-1", b"2_00", b"+20", b"20", b"2000", "２００".encode()])
def test_a_status_is_three_digits(status: bytes) -> None:
    caller = Http2Caller()
    caller.call(REQUEST)
    fields = hpack.Encoder().encode([(b":status", status)])
    settings, headers = b"\0\0\0\4\0\0\0\0\0", len(fields).to_bytes(3, "big") + b"\1\5\0\0\0\1"
    with pytest.raises(RemoteProtocolError):
        caller.receive(settings + headers + fields)
