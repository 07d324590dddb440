"""Messages that begin here: our own parsers and h11 read what was meant; a value cannot add a field."""

import pytest

from mesh.model.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.http1 import ClientExchange, ServerExchange, encode_request, encode_response, local_reply
from mesh.protocol.http1.writing import encode_lines


def test_request_round_trip() -> None:
    data = encode_request(b"POST", b"/a?b", b"shop", [(b"x-a", b"1")], b"payload")
    assert data == b"POST /a?b HTTP/1.1\r\nhost: shop\r\nx-a: 1\r\ncontent-length: 7\r\n\r\npayload"
    [request] = ServerExchange().receive_data(data)
    assert (request.head.target, request.head.header(b"x-a"), request.body) == (b"/a?b", b"1", b"payload")


def test_request_says_its_length_unless_its_method_rarely_has_a_body() -> None:
    assert b"content-length" not in encode_request(b"GET", b"/", b"a")
    assert b"content-length: 0\r\n" in encode_request(b"POST", b"/", b"a")
    assert b"content-length" not in encode_request(b"POST", b"/", b"a", [(b"transfer-encoding", b"chunked")], None)


def test_response_round_trip() -> None:
    data = encode_response(404, [(b"x-a", b"1")], b"gone", keep_alive=False)
    assert data == b"HTTP/1.1 404 Not Found\r\nx-a: 1\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngone"
    client = ClientExchange()
    client.expect(b"GET")
    response = client.receive_data(data)
    assert response is not None
    assert (response.head.status, response.body, response.head.keep_alive) == (404, b"gone", False)


def test_response_to_head_says_a_length_and_sends_nothing() -> None:
    assert encode_response(200, (), b"abc", method=b"HEAD") == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"


def test_status_without_a_body_says_no_length() -> None:
    assert encode_response(204) == b"HTTP/1.1 204 No Content\r\n\r\n"
    with pytest.raises(LocalProtocolError):
        encode_response(204, (), b"a")


def test_local_reply_has_envoys_form() -> None:
    assert local_reply(503, b"no healthy upstream", date=b"D", extra=b"x-envoy-overloaded: true\r\n") == (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\ncontent-type: text/plain\r\n"
        b"x-envoy-overloaded: true\r\ndate: D\r\n\r\nno healthy upstream"
    )
    assert local_reply(429, keep_alive=False) == (
        b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    assert local_reply(400, b"bad", method=b"HEAD").endswith(b"content-length: 3\r\ncontent-type: text/plain\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nx:y", b"a\nx:y", b"a\rb", b"\0"])
def test_value_cannot_add_a_line(value: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        encode_response(200, [(b"x", value)])
    with pytest.raises(LocalProtocolError):
        encode_request(b"GET", b"/", b"a", [(b"x", value)])
    with pytest.raises(LocalProtocolError):
        encode_request(b"GET", b"/" + value, b"a")
    with pytest.raises(LocalProtocolError):
        encode_request(b"GET", b"/", value)
    with pytest.raises(LocalProtocolError):
        encode_lines([(b"x", value)])


def test_server_says_when_a_client_waits_for_continue() -> None:
    server = ServerExchange()
    head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    assert server.receive_data(head) == []
    assert server.continue_expected
    [request] = server.receive_data(b"hi")
    assert not server.continue_expected
    assert request.body == b"hi"


def test_body_beyond_the_limit_is_refused() -> None:
    server = ServerExchange(body_bytes_max=3)
    with pytest.raises(RemoteProtocolError) as refusal:
        server.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabcd")
    assert refusal.value.status == 413


def test_client_takes_a_body_that_the_end_of_the_stream_ends() -> None:
    client = ClientExchange()
    client.expect(b"GET")
    assert client.receive_data(b"HTTP/1.1 200 OK\r\n\r\nabc") is None
    assert client.receive_eof().body == b"abc"


def test_end_of_the_stream_before_a_response_is_the_servers_fault() -> None:
    client = ClientExchange()
    client.expect(b"GET")
    with pytest.raises(RemoteProtocolError):
        client.receive_eof()


def test_response_that_nobody_asked_for_ends_the_connection() -> None:
    client = ClientExchange()
    client.expect(b"GET")
    assert client.receive_data(encode_response(200) + encode_response(200)) is not None
    with pytest.raises(RemoteProtocolError):
        client.expect(b"GET")
