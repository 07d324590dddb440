"""Bodies: their end is found over any split, framing passes through unchanged, lax framing is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1.body import LAST_CHUNK, MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES, BodyKind, BodyReader, chunk

extensions = st.sampled_from([b"", b";a", b";a=b", b';a="q\\"x; y"', b";a;b=c"])
trailers = st.lists(st.sampled_from([b"x: 1\r\n", b"grpc-status:0\r\n", b"y:\r\n"]), max_size=3).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(extensions), piece) for piece in pieces)
    return framed + b"000" + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n", b"".join(pieces)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(chunked(), st.lists(st.integers(0, 150), max_size=8), st.booleans(), st.binary(max_size=5))
@settings(max_examples=200, deadline=None)
def test_chunks_pass_over_any_split(body: tuple[bytes, bytes], cuts: list[int], decode: bool, after: bytes) -> None:
    framed, payload = body
    reader = BodyReader(BodyKind.CHUNKED)
    passed = rest = b""
    for piece in split(framed + after, cuts):
        if reader.done:
            rest += piece
            continue
        part, done, left = reader.decode(piece) if decode else reader.feed(piece)
        assert done == reader.done
        assert done or not left
        passed += part
        rest += left
    assert (passed, rest, reader.done) == (payload if decode else framed, after, True)


@given(chunked(), st.data())
@settings(max_examples=60, deadline=None)
def test_chunks_are_incomplete_until_their_last_byte(body: tuple[bytes, bytes], data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(body[0]) - 1))
    reader = BodyReader(BodyKind.CHUNKED)
    _, done, rest = reader.feed(body[0][:end])
    assert (done, rest) == (False, b"")
    with pytest.raises(RemoteProtocolError):
        reader.receive_eof()


HOSTILE = {
    "no size": b"\r\n",
    "space before": b" 1\r\na\r\n",
    "space after": b"1 \r\na\r\n",
    "tab after": b"1\t\r\na\r\n",
    "sign": b"+1\r\na\r\n",
    "0x": b"0x1\r\na\r\n",
    "underscore": b"1_0\r\n",
    "not hexadecimal": b"g\r\n",
    "sixteen digits": b"1000000000000000\r\n",
    "LF for CR LF after the size": b"1\na\r\n",
    "CR in an extension": b"1;a\rb\r\na\r\n",
    "LF in an extension": b"1;a\nb\r\na\r\n",
    "space before an extension": b"1 ;a\r\na\r\n",
    "NUL in an extension": b"1;\0\r\na\r\n",
    "open quote": b'1;a="\r\na\r\n',
    "data too long": b"1\r\nab\r\n",
    "LF after the data": b"1\r\na\n0\r\n\r\n",
    "CR after the data": b"1\r\na\r0\r\n\r\n",
    "no line end after the data": b"1\r\na0\r\n\r\n",
    "folded trailer": b"0\r\nx: 1\r\n y\r\n\r\n",
    "trailer without a colon": b"0\r\nx\r\n\r\n",
    "bare LF in a trailer": b"0\r\nx: 1\ny: 2\r\n\r\n",
    "space before the colon": b"0\r\nx : 1\r\n\r\n",
    "framing in a trailer": b"0\r\nContent-Length: 1\r\n\r\n",
    "host in a trailer": b"0\r\nhost: b\r\n\r\n",
    "long extension": b"1;" + b"a" * MAX_CHUNK_LINE_BYTES + b"\r\na\r\n",
    "endless extension": b"1;" + b"a" * MAX_CHUNK_LINE_BYTES,
    "long trailer": b"0\r\nx: " + b"a" * MAX_TRAILER_BYTES + b"\r\n\r\n",
    "endless trailer": b"0\r\nx: " + b"a" * MAX_TRAILER_BYTES,
    "many trailers": b"0\r\n" + b"x: 1\r\n" * (MAX_TRAILER_BYTES // 6 + 1) + b"\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("bytewise", [False, True])
def test_hostile_framing_is_refused(name: str, bytewise: bool) -> None:
    reader = BodyReader(BodyKind.CHUNKED)
    data = HOSTILE[name]
    pieces = [data[n : n + 1] for n in range(len(data))] if bytewise else [data]
    passed: list[bytes] = []
    with pytest.raises(RemoteProtocolError):
        passed.extend(reader.feed(piece)[0] for piece in pieces)
    assert len(b"".join(passed)) < len(data)


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
@settings(max_examples=150, deadline=None)
def test_garbage_raises_only_remote_protocol_error_whatever_the_split(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> bytes | None:
        reader = BodyReader(BodyKind.CHUNKED)
        try:
            return b"".join(reader.decode(piece)[0] for piece in pieces if not reader.done)
        except RemoteProtocolError:
            return None

    whole = read([b"1\r\n" + data])
    assert read(split(b"1\r\n" + data, cuts)) == whole


def test_length_passes_exactly_that_many_bytes() -> None:
    assert BodyReader(BodyKind.LENGTH, 3).feed(b"abc") == (b"abc", True, b"")
    assert BodyReader(BodyKind.LENGTH, 3).feed(b"abcde") == (b"abc", True, b"de")
    reader = BodyReader(BodyKind.LENGTH, 3)
    assert reader.feed(b"ab") == (b"ab", False, b"")
    assert reader.decode(b"cd") == (b"c", True, b"d")
    assert reader.feed(b"e") == (b"", True, b"e")


def test_nothing_belongs_to_a_body_that_is_not_there() -> None:
    for reader in (BodyReader(BodyKind.NONE), BodyReader(BodyKind.LENGTH, 0)):
        assert reader.done
        assert reader.feed(b"next") == (b"", True, b"next")


def test_only_the_end_of_the_stream_ends_a_body_without_framing() -> None:
    reader = BodyReader(BodyKind.UNTIL_CLOSE)
    assert reader.feed(b"abc") == (b"abc", False, b"")
    reader.receive_eof()
    assert reader.done


def test_end_of_the_stream_within_a_counted_body_is_the_peers_fault() -> None:
    reader = BodyReader(BodyKind.LENGTH, 3)
    reader.feed(b"ab")
    with pytest.raises(RemoteProtocolError):
        reader.receive_eof()


def test_chunks_that_we_write_are_read_back() -> None:
    framed = chunk(b"abc") + chunk(b"d" * 300) + LAST_CHUNK
    assert BodyReader(BodyKind.CHUNKED).decode(framed) == (b"abc" + b"d" * 300, True, b"")
