"""Redaction: private keys and other secrets that stand inside of what may otherwise be shown."""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
_PRIVATE_KEY_PEM = "PRIVATE KEY-----"
# Whatever stands below such a key is a secret, unless it only says where the secret is.
_SECRET_KEY = re.compile(r"(private|client|signing)_?key(_?pem)?|passw(or)?d|(?:^|_)secret$|^token$", re.IGNORECASE)
_REFERENCE_KEYS = frozenset({"kind", "name", "type", "path", "file", "envVar", "secret", "secretRef"})


def without_secrets(value: Any) -> Any:
    """Return a JSON value with its secrets replaced."""
    return _redact(value, secret=False)


def _redact(value: Any, *, secret: bool) -> Any:
    match value:
        case Mapping():
            return {key: _redact_entry(key, item, secret=secret) for key, item in value.items()}
        case list() | tuple():
            return [_redact(item, secret=secret) for item in value]
        case str() | bytes() if secret and value:
            return REDACTED
        case str() if _PRIVATE_KEY_PEM in value:
            return REDACTED
        case _:
            return value


def _redact_entry(key: str, value: Any, *, secret: bool) -> Any:
    if secret and key in _REFERENCE_KEYS and isinstance(value, str):
        return value
    if secret and key in _REFERENCE_KEYS:
        return _redact(value, secret=False)
    return _redact(value, secret=secret or (bool(_SECRET_KEY.search(key)) and not isinstance(value, bool)))
