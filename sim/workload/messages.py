"""HTTP/1.1 messages that applications send, encoded once where they never change. Pure."""

from mesh.protocol.http1 import REASONS
from sim.scenario.topology import Operation


def reply(status: int, body: bytes) -> bytes:
    """Write a whole response."""
    reason = REASONS.get(status, b"")
    return b"HTTP/1.1 %d %b\r\ncontent-length: %d\r\n\r\n%b" % (status, reason, len(body), body)


def request_message(operation: Operation, body_bytes: int) -> tuple[bytes, bytes]:
    """Write a request in two parts; complete header lines may go in between."""
    head = f"{operation.verb} {operation.target} HTTP/1.1\r\nhost: {operation.service}\r\n"
    if body_bytes or operation.verb in ("POST", "PUT", "PATCH"):
        head += f"content-length: {body_bytes}\r\n"
    return head.encode(), b"\r\n" + b"." * body_bytes
