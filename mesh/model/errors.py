"""Errors by culprit: each docstring says who caused it and what the caller may do. Data stands in fields."""

from collections.abc import Iterable

import attrs


@attrs.frozen(kw_only=True)
class Violation:
    """One thing wrong in what an operator wrote.

    `path` is the dotted place inside the document (`services.web.endpoints`), `line` and `column` count from 1
    (0: unknown), `hint` says what to do.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place = f"{place or '<input>'}:{self.line}:{self.column}"
        parts = [part for part in (place, self.path) if part]
        text = ": ".join([*parts, self.message])
        return f"{text} ({self.hint})" if self.hint else text


class MeshError(Exception):
    """Root of all errors of this project."""


class ConfigError(MeshError):
    """The operator's: what was written cannot be used. Carries all violations of the input at once; nothing was applied."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(str(violation) for violation in self.violations))


class LocalProtocolError(MeshError):
    """Ours: our code asked a codec for something the protocol forbids. A bug to fix."""


class RemoteProtocolError(MeshError):
    """The peer's: it sent bytes outside the protocol. Answer with `status` if there is still a way to, then close."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class IdentityError(MeshError):
    """Somebody's certificate or token does not prove what it should. Never retried with the same credentials."""


class DeniedError(MeshError):
    """A policy forbids it. Retrying does not help."""


class BrokenConnection(MeshError):
    """The peer or the network ended the connection; `reason` in Envoy's words (e.g. "connection termination")."""

    def __init__(self, reason: str = "connection termination") -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectFailed(BrokenConnection):
    """No connection could be made: refused, unreachable or not in time."""

    def __init__(self, reason: str = "connection failure") -> None:
        super().__init__(reason)


class ClosedConnection(MeshError):
    """Ours: our own code closed the connection and went on using it."""


class DeadlineExceeded(MeshError):
    """A pump's deadline passed while it was parked. The pump knows which of its spans that was."""


class StoreError(MeshError):
    """The disk's or the database server's: what was asked for did not happen. It may work later."""


class OutcomeUnknown(StoreError):
    """The disk's or the database server's: it failed while committing. Read again before acting on either outcome."""
