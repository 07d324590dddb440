"""W3C Trace Context and request ids: reading and making them, at a cost that every request can bear.

Chance is an argument. Source: W3C Trace Context level 2, section 3.2; RFC 9562 section 5.4 for the form of request ids.
"""

import re
import struct
from binascii import hexlify
from typing import NamedTuple

from mesh.model.randomness import Random

# Version 00 has exactly these parts; later versions may add more after another dash.
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
_SAMPLED, _RANDOM = 0x01, 0x02
_COMMON_FORM = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")
_UUID_PARTS = struct.Struct("8s4s3s3s12s").unpack


class TraceContext(NamedTuple):
    """One traceparent. Ids are lower-case hexadecimal, 32 and 16 digits. A tuple, since each request makes one."""

    trace_id: bytes
    parent_id: bytes
    flags: int

    @property
    def sampled(self) -> bool:
        """The caller records this trace."""
        return self.flags & _SAMPLED != 0


def parse(value: bytes) -> TraceContext | None:
    """Read a traceparent; None when it is invalid and a new trace has to start."""
    match = _FORM.fullmatch(value)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if trace_id == _NO_TRACE or parent_id == _NO_SPAN or version == b"ff" or (more is not None and version == b"00"):
        return None
    return TraceContext(trace_id, parent_id, int(flags, 16))


def child(context: TraceContext, random: Random) -> bytes:
    """Write the traceparent of a new span within a trace. Flags that we do not know end here."""
    return b"00-%b-%b-%02x" % (context.trace_id, span_id(random), context.flags & (_SAMPLED | _RANDOM))


def start(random: Random, sampled: bool) -> bytes:
    """Write the traceparent of a new trace's first span."""
    while True:
        bits = random.getrandbits(192)
        # An id of zeros is invalid: draw again, once in 2**64 times.
        if bits >> 64 and bits & 0xFFFFFFFFFFFFFFFF:
            digits = hexlify(bits.to_bytes(24, "big"))
            return b"00-%b-%b-%02x" % (digits[:32], digits[32:], _RANDOM | sampled)


def span_id(random: Random) -> bytes:
    """Draw a span id that is not zero."""
    return b"%016x" % (random.getrandbits(64) or 1)


def request_id(random: Random) -> bytes:
    """Draw an id in the form of a version 4 UUID, 120 bits of it by chance."""
    # Cut by struct: five slices and an f-string cost twice as much.
    return b"%b-%b-4%b-a%b-%b" % _UUID_PARTS(hexlify(random.getrandbits(120).to_bytes(15, "big")))


def child_of(value: bytes, random: Random) -> bytes | None:
    """Write the traceparent of a new span within the trace of a received one; None when that is invalid.

    The same as `parse` and `child`, for the request path: the common form is cut and not taken apart.
    """
    if _COMMON_FORM.fullmatch(value) is None:
        context = parse(value)
        return None if context is None else child(context, random)
    return value[:36] + b"%016x" % (random.getrandbits(64) or 1) + value[52:]
