"""PostgreSQL: round trip, any split gives the same messages, garbage raises only RemoteProtocolError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.postgres import (
    MESSAGE_BYTES_MAX,
    AuthenticationOk,
    CancelRequest,
    ClientMessageReader,
    CommandComplete,
    DataRow,
    EmptyQueryResponse,
    ErrorResponse,
    FromClient,
    FromServer,
    GssRequest,
    Other,
    ParameterStatus,
    Query,
    ReadyForQuery,
    RowDescription,
    ServerMessageReader,
    SslRequest,
    Startup,
    Terminate,
    encode,
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)
filled = texts.filter(bool)
from_server = st.one_of(
    st.just(AuthenticationOk()),
    st.builds(ParameterStatus, texts, texts),
    st.builds(ReadyForQuery, st.sampled_from("ITE")),
    st.builds(RowDescription, st.lists(texts, max_size=3).map(tuple)),
    st.builds(DataRow, st.lists(st.none() | st.binary(max_size=10), max_size=4).map(tuple)),
    st.builds(CommandComplete, texts),
    st.just(EmptyQueryResponse()),
    st.builds(ErrorResponse, st.lists(st.tuples(st.sampled_from("SCMDH"), texts), max_size=3).map(tuple)),
    st.builds(Other, st.sampled_from([b"N", b"K", b"1"]), st.binary(max_size=10)),
)
first = st.lists(st.sampled_from([SslRequest(), GssRequest()]), max_size=2)
startups = st.builds(Startup, parameters=st.lists(st.tuples(filled, texts), max_size=3).map(tuple))
from_client = st.builds(Query, texts) | st.just(Terminate()) | st.builds(Other, st.just(b"P"), st.binary(max_size=9))
cut_places = st.lists(st.integers(0, 300), max_size=6)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(first, startups, st.lists(from_client, max_size=4), cut_places)
@settings(max_examples=100, deadline=None)
def test_client_messages_survive_any_split(
    before: list[FromClient], startup: Startup, after: list[FromClient], cuts: list[int]
) -> None:
    sent = [*before, startup, *after]
    reader = ClientMessageReader()
    stream = b"".join(map(encode, sent))
    assert [message for piece in split(stream, cuts) for message in reader.receive_data(piece)] == sent


@given(st.lists(from_server, max_size=5), cut_places)
@settings(max_examples=150, deadline=None)
def test_server_messages_survive_any_split(sent: list[FromServer], cuts: list[int]) -> None:
    reader = ServerMessageReader()
    stream = b"".join(map(encode, sent))
    assert [message for piece in split(stream, cuts) for message in reader.receive_data(piece)] == sent


def test_bytes_on_the_wire() -> None:
    """Spelled out from the documentation's Message Formats."""
    assert encode(SslRequest()) == b"\0\0\0\x08\x04\xd2\x16\x2f"
    assert encode(Startup(parameters=(("user", "a"),))) == b"\0\0\0\x10\0\x03\0\0user\0a\0\0"
    assert encode(Query("SELECT 1")) == b"Q\0\0\0\x0dSELECT 1\0"
    assert encode(AuthenticationOk()) == b"R\0\0\0\x08\0\0\0\0"
    assert encode(ReadyForQuery()) == b"Z\0\0\0\x05I"
    assert encode(CommandComplete("SELECT 1")) == b"C\0\0\0\x0dSELECT 1\0"
    assert encode(DataRow((b"1", None))) == b"D\0\0\0\x0f\0\x02\0\0\0\x011\xff\xff\xff\xff"
    assert (
        encode(RowDescription(("a",))) == b"T\0\0\0\x1a\0\x01a\0" + bytes(6) + b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
    )


def test_error_tells_its_sqlstate() -> None:
    error = ErrorResponse.of("53300", "too many connections", severity="FATAL")
    assert error.sqlstate == "53300"
    assert ServerMessageReader().receive_data(encode(error)) == [error]


def test_cancel_request_comes_instead_of_startup() -> None:
    cancel = CancelRequest(process_id=7, secret=b"abcd")
    assert ClientMessageReader().receive_data(encode(cancel)) == [cancel]


def test_text_in_another_encoding_survives() -> None:
    reader = ClientMessageReader()
    reader.receive_data(encode(Startup(parameters=())))
    [query] = reader.receive_data(b"Q\0\0\0\x06\xe9\0")
    assert encode(query) == b"Q\0\0\0\x06\xe9\0"


FIRST = {
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "HTTP": b"GET / HTTP/1.1\r\n",
    "version 2": b"\0\0\0\x08\0\x02\0\0",
    "too short": b"\0\0\0\x04",
    "smaller than itself": b"\0\0\0\x03",
    "too long": b"\0\0\x40\0",
    "no end": b"\0\0\0\x0f\0\x03\0\0user\0a\0",
    "name without value": b"\0\0\0\x0e\0\x03\0\0user\0\0",
}


@pytest.mark.parametrize("name", FIRST)
def test_hostile_first_message_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ClientMessageReader().receive_data(FIRST[name])


SERVER = {
    "size": b"D" + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"),
    "no size": b"D\0\0\0\0",
    "status": b"Z\0\0\0\x05X",
    "string without NUL": b"C\0\0\0\x05a",
    "two strings": b"C\0\0\0\x08a\0b\0",
    "row that ends early": b"D\0\0\0\x0b\0\x01\0\0\0\x05a",
    "row with bytes to spare": b"D\0\0\0\x07\0\0a",
    "negative size": b"D\0\0\0\x0a\0\x01\xff\xff\xff\xfe",
    "columns that end early": b"T\0\0\0\x08\0\x01a\0",
    "setting without value": b"S\0\0\0\x06a\0",
    "error without end": b"E\0\0\0\x06Sa",
}


@pytest.mark.parametrize("name", SERVER)
def test_hostile_server_message_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ServerMessageReader().receive_data(SERVER[name])


@given(st.sampled_from([b"R", b"S", b"Z", b"T", b"D", b"C", b"I", b"E", b"N"]), st.binary(max_size=30))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_remote_protocol_error(kind: bytes, body: bytes) -> None:
    frame = (len(body) + 4).to_bytes(4, "big") + body
    for reader, data in ((ServerMessageReader(), kind + frame), (ClientMessageReader(), frame)):
        try:
            reader.receive_data(data)
        except RemoteProtocolError:
            pass


def test_what_cannot_be_said_is_our_own_error() -> None:
    with pytest.raises(LocalProtocolError):
        encode(Query("a\0b"))
