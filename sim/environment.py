"""The simulated world's `Environment`: one for each incarnation of a host."""

import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from mesh.model.errors import ConfigError, Violation
from mesh.model.security import ClientTls, OriginationTls, ServerTls
from mesh.runtime.environment import TlsContext
from mesh.runtime.logging import redact
from sim.event_log import EventLog

_LEVEL_BY_METHOD = {"warn": "warning", "exception": "error", "fatal": "critical"}


def simulated_log(events: EventLog, host: str, is_alive: Callable[[], bool]) -> FilteringBoundLogger:
    """Make a logger whose lines of level info and above become events; a host without power logs nothing."""

    def keep(_: WrappedLogger, method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
        kind = str(fields.pop("event", ""))
        _explain_exception(fields)
        if is_alive():
            events.append(kind, host, _LEVEL_BY_METHOD.get(method, method), dict(fields))
        raise structlog.DropEvent

    logger = structlog.wrap_logger(
        None,
        processors=[redact, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        context_class=dict,
    )
    return cast(FilteringBoundLogger, logger.bind())


def describe(error: BaseException) -> str:
    """Return the traceback of an exception as text."""
    return "".join(traceback.format_exception(error)).rstrip()


def _explain_exception(fields: MutableMapping[str, Any]) -> None:
    error = fields.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        fields["exception"] = describe(error)


class NoTls:
    """Stands in where a world was made without TLS."""

    def client(self, config: ClientTls) -> TlsContext:
        """Refuse. Raises: ConfigError."""
        raise _no_tls()

    def server(self, config: ServerTls) -> TlsContext:
        """Refuse. Raises: ConfigError."""
        raise _no_tls()

    def originate(self, config: OriginationTls) -> TlsContext:
        """Refuse. Raises: ConfigError."""
        raise _no_tls()


def _no_tls() -> ConfigError:
    return ConfigError([Violation(message="this world was made without TLS", hint="give World a tls_factory")])
