"""PostgreSQL's messages as values: start-up and simple queries. What else there is comes as `Other`."""

import attrs

VERSION_3 = 196608  # The code in Startup; the requests before it have codes in the same place.
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


@attrs.frozen(kw_only=True)
class Startup:
    """The client's first message: user, database and settings."""

    parameters: tuple[tuple[str, str], ...]


@attrs.frozen
class SslRequest:
    """Before Startup: may this be TLS? Answered by one byte, S or N."""


@attrs.frozen
class GssRequest:
    """Before Startup: may this be GSSAPI encryption? Answered by one byte, G or N."""


@attrs.frozen(kw_only=True)
class CancelRequest:
    """Instead of Startup: cancel what the connection of `process_id` does."""

    process_id: int
    secret: bytes


@attrs.frozen
class Query:
    """A simple query: one or more statements."""

    sql: str


@attrs.frozen
class Terminate:
    """The client ends the connection."""


@attrs.frozen
class AuthenticationOk:
    """The client is let in."""


@attrs.frozen
class ParameterStatus:
    """A setting of the server that the client should know."""

    name: str
    value: str


@attrs.frozen
class ReadyForQuery:
    """The server waits. `status`: I idle, T in a transaction, E in a failed one."""

    status: str = "I"


@attrs.frozen
class RowDescription:
    """The names of a result's columns. Written as text columns; types of a peer's are not kept."""

    columns: tuple[str, ...]


@attrs.frozen
class DataRow:
    """One row; None is null."""

    values: tuple[bytes | None, ...]


@attrs.frozen
class CommandComplete:
    """A statement is done; the tag says which and how many rows: `SELECT 3`."""

    tag: str


@attrs.frozen
class EmptyQueryResponse:
    """The query string held no statement."""


@attrs.frozen
class ErrorResponse:
    """A statement or the connection failed. `fields` by their letters: S severity, C SQLSTATE, M message."""

    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, sqlstate: str, message: str, *, severity: str = "ERROR") -> "ErrorResponse":
        """Make the usual one."""
        return cls((("S", severity), ("V", severity), ("C", sqlstate), ("M", message)))

    @property
    def sqlstate(self) -> str:
        """The five characters that say what failed."""
        return dict(self.fields).get("C", "")


@attrs.frozen
class Other:
    """A message that has no class here: its letter and its body."""

    kind: bytes
    body: bytes


First = Startup | SslRequest | GssRequest | CancelRequest
FromClient = First | Query | Terminate | Other
FromServer = (
    AuthenticationOk
    | ParameterStatus
    | ReadyForQuery
    | RowDescription
    | DataRow
    | CommandComplete
    | EmptyQueryResponse
    | ErrorResponse
    | Other
)
