"""Instants as resources carry them: RFC 3339 in UTC outside (`2026-01-01T00:00:00Z`), seconds since the epoch inside."""

from datetime import UTC, datetime


def parse_time(text: str) -> float:
    """Return the instant that `text` names. Raises: ValueError."""
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def format_time(seconds: float) -> str:
    """Write an instant as Kuma's API does, with as many digits of the second as it has."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")
    return f"{text.rstrip('0') if '.' in text else text}Z"
