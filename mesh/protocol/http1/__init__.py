"""HTTP/1.1 between bytes and values: heads, bodies and what to send on. Strict where laxness lets requests be smuggled.

Deliberately without connections, deadlines or policies: callers own the buffers and decide what to do with a message.
Source: RFC 9110, RFC 9112; limits are Envoy's (`max_request_headers_kb` 60, 100 header fields).
"""

from mesh.protocol.http1.body import BodyKind, BodyReader
from mesh.protocol.http1.exchange import ClientExchange, Request, Response, ServerExchange
from mesh.protocol.http1.head import RequestHead, ResponseHead
from mesh.protocol.http1.layout import MAX_HEADERS
from mesh.protocol.http1.parsing import MAX_HEAD_BYTES, RequestParser, ResponseParser
from mesh.protocol.http1.writing import REASONS, encode_request, encode_response, local_reply

__all__ = [
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "REASONS",
    "BodyKind",
    "BodyReader",
    "ClientExchange",
    "Request",
    "RequestHead",
    "RequestParser",
    "Response",
    "ResponseHead",
    "ResponseParser",
    "ServerExchange",
    "encode_request",
    "encode_response",
    "local_reply",
]
