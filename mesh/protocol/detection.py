"""Detection: which protocol a connection speaks, from its first bytes.

Decides only what the bytes prove; whoever waits for more sets the time limit and treats silence as opaque.
Stricter than Linkerd, which this follows (one read of at most 1024 bytes, a prefix of the HTTP/2 preface): HTTP/1 has to show
its whole request line, since `SET key value` of a text protocol begins like one.
"""

import enum
import re

DETECTION_BYTES_MAX = 1024

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# A method no longer than any that is in use, one space, a target.
_HTTP1_METHOD = re.compile(_TOKEN + rb"{1,24} [\x21-\x7e]")
_HTTP1_LINE = re.compile(_TOKEN + rb"{1,24} [\x21-\x7e]+ HTTP/1\.[01]\r?\n")
# The beginning of what the above match.
_HTTP1_BEGIN = re.compile(_TOKEN + rb"{0,24}(?: (?:[\x21-\x7e]+(?: [HTP/1.0]{0,8}\r?)?)?)?")


class Detected(enum.Enum):
    """What the first bytes prove."""

    TLS = "tls"
    HTTP1 = "http1"
    HTTP2 = "http2"
    OPAQUE = "opaque"
    NEED_MORE = "need more"


def detect(first_bytes: bytes) -> Detected:
    """Judge a connection by its first bytes. After `DETECTION_BYTES_MAX` bytes there is always an answer."""
    if not first_bytes:
        return Detected.NEED_MORE
    if first_bytes[0] == 0x16:
        return _detect_tls(first_bytes)
    preface_bytes = min(len(first_bytes), len(HTTP2_PREFACE))
    if first_bytes[:preface_bytes] == HTTP2_PREFACE[:preface_bytes]:
        return Detected.HTTP2 if preface_bytes == len(HTTP2_PREFACE) else Detected.NEED_MORE
    if _HTTP1_LINE.match(first_bytes):
        return Detected.HTTP1
    if not _HTTP1_BEGIN.fullmatch(first_bytes[:DETECTION_BYTES_MAX]):
        return Detected.OPAQUE
    if len(first_bytes) < DETECTION_BYTES_MAX:
        return Detected.NEED_MORE
    # A long target: the version does not come within reach, method and target have to do.
    return Detected.HTTP1 if _HTTP1_METHOD.match(first_bytes) else Detected.OPAQUE


def _detect_tls(first_bytes: bytes) -> Detected:
    """A TLS record of handshake messages, version 3.x, that begins with a ClientHello. Source: RFC 8446 section 5.1."""
    if len(first_bytes) >= 2 and first_bytes[1] != 3:
        return Detected.OPAQUE
    if len(first_bytes) < 6:
        return Detected.NEED_MORE
    return Detected.TLS if first_bytes[5] == 1 else Detected.OPAQUE
