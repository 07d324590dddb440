"""Redis: round trip, any split gives the same values, garbage raises only RemoteProtocolError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol import redis
from mesh.protocol.redis import (
    BULK_BYTES_MAX,
    DEPTH_MAX,
    OK,
    CommandReader,
    Error,
    Reply,
    ReplyReader,
    SimpleString,
    encode_command,
    encode_reply,
)

words = st.binary(max_size=12)
lines = words.map(lambda data: data.translate(None, b"\r\n"))
plain = st.none() | words | st.integers(-(2**63), 2**63 - 1) | lines.map(SimpleString) | lines.map(Error)
replies = st.recursive(plain, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10)
cut_places = st.lists(st.integers(0, 300), max_size=6)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.lists(words, min_size=1, max_size=4).map(tuple), max_size=4), cut_places)
@settings(max_examples=80, deadline=None)
def test_commands_survive_any_split(commands: list[tuple[bytes, ...]], cuts: list[int]) -> None:
    reader = CommandReader()
    stream = b"".join(map(encode_command, commands))
    assert [command for piece in split(stream, cuts) for command in reader.receive_data(piece)] == commands


@given(st.lists(replies, max_size=4), cut_places)
@settings(max_examples=120, deadline=None)
def test_replies_survive_any_split(sent: list[Reply], cuts: list[int]) -> None:
    reader = ReplyReader()
    stream = b"".join(map(encode_reply, sent))
    assert [reply for piece in split(stream, cuts) for reply in reader.receive_data(piece)] == sent


def test_bytes_on_the_wire() -> None:
    assert encode_command([b"SET", b"k", b"v"]) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
    assert (
        encode_reply((OK, Error(b"ERR no"), 7, b"a", None, ()))
        == b"*6\r\n+OK\r\n-ERR no\r\n:7\r\n$1\r\na\r\n$-1\r\n*0\r\n"
    )


def test_both_kinds_of_null_are_none() -> None:
    assert ReplyReader().receive_data(b"$-1\r\n*-1\r\n") == [None, None]


HOSTILE = {
    "inline command": b"PING\r\n",
    "version 3": b"%1\r\n",
    "signed number": b":+1\r\n",
    "space": b": 1\r\n",
    "empty number": b":\r\n",
    "underscore": b"$1_0\r\n",
    "negative length": b"$-2\r\n",
    "bulk too long": b"$%d\r\n" % (BULK_BYTES_MAX + 1),
    "array too long": b"*99999999\r\n",
    "bulk longer than said": b"$1\r\nab\r\n",
    "bulk that ends in LF": b"$1\r\na\n",
    "bare LF": b"+a\nb\r\n",
    "bare CR": b"+a\rb\r\n",
    "endless line": b"+" + b"a" * 70000,
    "nested too deep": b"*1\r\n" * (DEPTH_MAX + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ReplyReader().receive_data(HOSTILE[name])


@pytest.mark.parametrize("data", [b"*0\r\n", b"+OK\r\n", b"*-1\r\n", b"*1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n$-1\r\n"])
def test_only_bulk_strings_make_a_command(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        CommandReader().receive_data(data)


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"*", b"$", b"1", b"-1", b"\r\n", b":", b"+", b"a"])).map(b"".join)
)
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_remote_protocol_error(data: bytes) -> None:
    try:
        CommandReader().receive_data(data)
    except RemoteProtocolError:
        pass


def test_limit_is_for_each_value_not_for_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "VALUE_BYTES_MAX", 50)
    reader = ReplyReader()
    assert len(reader.receive_data(encode_reply((b"a" * 20, 1)) * 10)) == 10
    with pytest.raises(RemoteProtocolError):
        reader.receive_data(encode_reply((b"a" * 20, b"b" * 20)))


def test_what_cannot_be_said_is_our_own_error() -> None:
    with pytest.raises(LocalProtocolError):
        encode_command([])
    with pytest.raises(LocalProtocolError):
        encode_reply(Error(b"a\r\nb"))
