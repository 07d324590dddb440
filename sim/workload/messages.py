"""HTTP/1.1 messages that applications send, encoded once where they never change. Pure."""

from collections.abc import Iterable

from mesh.model.randomness import Random
from mesh.protocol.http1 import REASONS
from sim.scenario.headers import Header
from sim.scenario.schema import IDEMPOTENT_METHODS
from sim.scenario.topology import Endpoint, Operation


def reply(status: int, body: bytes, lines: bytes = b"") -> bytes:
    """Write a whole response; `lines` are complete header lines."""
    reason = REASONS.get(status, b"")
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, reason, lines, len(body), body)


def request_message(operation: Operation, body: bytes, headers: Iterable[Header] = ()) -> tuple[bytes, bytes]:
    """Write a request in two parts; complete header lines may go in between, among them those of `headers`."""
    named = any(header.name == "host" for header in headers)
    head = f"{operation.verb} {operation.target} HTTP/1.1\r\n" + ("" if named else f"host: {operation.service}\r\n")
    if body or operation.verb in ("POST", "PUT", "PATCH"):
        head += f"content-length: {len(body)}\r\n"
    return head.encode(), b"\r\n" + body


def body_of(text: str, endpoint: Endpoint | None) -> bytes:
    """Return the body of a request: what was written, else as many bytes as the endpoint takes."""
    return text.encode() if text or endpoint is None else b"." * endpoint.request_bytes


def is_idempotent(operation: Operation, endpoint: Endpoint | None) -> bool:
    """May a request be repeated? What no endpoint says, its method promises."""
    return operation.verb in IDEMPOTENT_METHODS if endpoint is None else endpoint.idempotent


class DrawnHeaders:
    """Headers of which each request gets one of their values."""

    __slots__ = ("_choices",)

    def __init__(self, headers: Iterable[Header]) -> None:
        self._choices = tuple(header.lines() for header in headers)

    def __bool__(self) -> bool:
        return bool(self._choices)

    def draw(self, random: Random) -> bytes:
        """Return complete lines, each with a value drawn. What has one value draws nothing."""
        return b"".join(
            lines[0] if len(lines) == 1 else lines[int(random.random() * len(lines))] for lines in self._choices
        )

    def of(self, number: int) -> bytes:
        """Return complete lines with the n-th value of each, round and round."""
        return b"".join(lines[number % len(lines)] for lines in self._choices)
