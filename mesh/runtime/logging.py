"""Log lines: one logger, made by the command line and handed down in the Environment. Nothing global, nothing at import.

Values of keys that name a secret never reach the output, nor does anything that looks like a private key.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor, WrappedLogger

_SECRET_KEY = re.compile(r"token|secret|passw(or)?d|authorization|cookie|credential|private_?key", re.IGNORECASE)
_PRIVATE_KEY_PEM = "PRIVATE KEY-----"
_REDACTED = "[redacted]"

Level = Literal["debug", "info", "warning", "error"]


def open_log(
    *,
    wall_clock: Callable[[], float],
    form: Literal["json", "console"] = "json",
    level: Level = "info",
    output: TextIO | None = None,
    colors: bool = False,
) -> FilteringBoundLogger:
    """Make a logger that writes lines to `output`, standard error if not given; `wall_clock` gives their dates."""
    render: list[Processor]
    if form == "json":
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        render = [
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
        ]
    logger = structlog.wrap_logger(
        structlog.WriteLogger(output or sys.stderr),
        processors=[structlog.processors.add_log_level, _stamp(wall_clock), redact, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        context_class=dict,
    )
    return cast(FilteringBoundLogger, logger.bind())


def _stamp(wall_clock: Callable[[], float]) -> Processor:
    def stamp(_: WrappedLogger, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        date = datetime.fromtimestamp(wall_clock(), UTC)
        fields["timestamp"] = date.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return fields

    return stamp


def redact(_: WrappedLogger, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of secret fields, however deep. A structlog processor."""
    for key, value in fields.items():
        fields[key] = _without_secrets(key, value)
    return fields


def _without_secrets(key: str, value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value  # A count or a span of a token is no secret.
        case _ if _SECRET_KEY.search(key):
            return _REDACTED
        case str():
            return _REDACTED if _PRIVATE_KEY_PEM in value else value
        case bytes():
            return _REDACTED if _PRIVATE_KEY_PEM.encode() in value else value
        case Mapping():
            return {name: _without_secrets(str(name), inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_secrets("", inner) for inner in value]
        case _:
            return value
