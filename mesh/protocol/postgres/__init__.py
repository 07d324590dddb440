"""PostgreSQL's frontend/backend protocol, version 3: the messages of start-up and of simple queries as values.

Strict and bounded. Reads any typed message; those without a class of their own come as `Other`, so that telemetry can
follow a connection that uses more. Does not authenticate: a server of ours trusts, a client of ours expects to be trusted.
Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", sections Message Flow and Message Formats.
"""

from mesh.protocol.postgres.encoding import encode
from mesh.protocol.postgres.messages import (
    AuthenticationOk,
    CancelRequest,
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
    SslRequest,
    Startup,
    Terminate,
)
from mesh.protocol.postgres.reading import (
    MESSAGE_BYTES_MAX,
    STARTUP_BYTES_MAX,
    ClientMessageReader,
    ServerMessageReader,
)

NO_TLS = b"N"  # The answer to SslRequest or GssRequest by a server that goes on in the clear.

__all__ = [
    "MESSAGE_BYTES_MAX",
    "NO_TLS",
    "STARTUP_BYTES_MAX",
    "AuthenticationOk",
    "CancelRequest",
    "ClientMessageReader",
    "CommandComplete",
    "DataRow",
    "EmptyQueryResponse",
    "ErrorResponse",
    "FromClient",
    "FromServer",
    "GssRequest",
    "Other",
    "ParameterStatus",
    "Query",
    "ReadyForQuery",
    "RowDescription",
    "ServerMessageReader",
    "SslRequest",
    "Startup",
    "Terminate",
    "encode",
]
