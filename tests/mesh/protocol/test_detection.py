"""Detection: the first bytes prove a protocol, more bytes never change an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.protocol.detection import DETECTION_BYTES_MAX, HTTP2_PREFACE, Detected, detect

CASES = [
    (b"", Detected.NEED_MORE),
    (b"\x16", Detected.NEED_MORE),
    (b"\x16\x03\x01\x02\x00\x01", Detected.TLS),
    (b"\x16\x03\x01\x02\x00\x02", Detected.OPAQUE),
    (b"\x16\x04", Detected.OPAQUE),
    (b"GET / HTTP/1.1\r\n", Detected.HTTP1),
    (b"GET / HTTP/1.0\n", Detected.HTTP1),
    (b"PROPFIND http://a/b?c HTTP/1.1\r\nHost: a\r\n", Detected.HTTP1),
    (b"GET / HTTP/1.1", Detected.NEED_MORE),
    (b"GET ", Detected.NEED_MORE),
    (b"GE", Detected.NEED_MORE),
    (b"GET /" + b"a" * 2000, Detected.HTTP1),
    (b"GET /" + b"a" * 2000 + b" x", Detected.HTTP1),
    (b"GET / HTTP/2.0\r\n", Detected.OPAQUE),
    (b"GET  / HTTP/1.1\r\n", Detected.OPAQUE),
    (b"P", Detected.NEED_MORE),
    (HTTP2_PREFACE[:23], Detected.NEED_MORE),
    (HTTP2_PREFACE + b"\0\0\0", Detected.HTTP2),
    (b"PRI * HTTP/2.0\r\n\r\nXX", Detected.OPAQUE),
    (b"*1\r\n$4\r\nPING\r\n", Detected.OPAQUE),
    (b"SET key value\r\n", Detected.OPAQUE),
    (b"EHLO mail.example\r\n", Detected.OPAQUE),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Detected.OPAQUE),
    (b"SSH-2.0-OpenSSH_9.6\r\n", Detected.OPAQUE),
    (b"A" * 30, Detected.OPAQUE),
]


@pytest.mark.parametrize(("data", "detected"), CASES)
def test_first_bytes_prove_a_protocol(data: bytes, detected: Detected) -> None:
    assert detect(data) is detected


words = st.sampled_from(
    [b"GET ", b"PRI * HTTP/2.0\r\n", b"/", b"a" * 500, b" HTTP/1.1\r\n", b" H", b"\x16\x03\x01", b" "]
)


@given(st.lists(words | st.binary(max_size=6), max_size=6).map(b"".join))
@settings(max_examples=200, deadline=None)
def test_more_bytes_never_change_an_answer(data: bytes) -> None:
    answer = Detected.NEED_MORE
    for end in range(len(data) + 1):
        now = detect(data[:end])
        assert answer in (Detected.NEED_MORE, now)
        answer = now


@given(st.binary(min_size=DETECTION_BYTES_MAX, max_size=DETECTION_BYTES_MAX))
@settings(max_examples=20, deadline=None)
def test_there_is_an_answer_within_the_limit(data: bytes) -> None:
    assert detect(data) is not Detected.NEED_MORE
    assert detect(b"GET /" + b"a" * (DETECTION_BYTES_MAX - 5)) is Detected.HTTP1
