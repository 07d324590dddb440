"""Resources as text in the database: canonical JSON of what was written, the secret part of it sealed."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from mesh.control.store.sealing import CannotOpen, Sealer
from mesh.control.store.values import Key, Stored
from mesh.model.errors import ConfigError
from mesh.resources.data_source import DataSourceKind
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

_SECRET_KINDS = ("Secret", "GlobalSecret")

_encoder = msgspec.json.Encoder(order="sorted")


@attrs.frozen(kw_only=True)
class Document:
    """A resource as the database keeps it; `sealed` holds the secret part, which `text` leaves out."""

    text: str
    sealed: bytes | None = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Row:
    """A row of `resources`."""

    key: Key
    version: int
    created: float
    modified: float
    revision: int
    document: Document


class NotReadable(Exception):
    """The document in a row is nothing that this version of the program can use. It carries the reason."""


def encode_json(values: Mapping[str, Any]) -> str:
    """Write values as canonical JSON: equal values give equal text."""
    return _encoder.encode(values).decode()


def decode_json(text: str) -> dict[str, Any]:
    """Read what `encode_json` wrote."""
    return msgspec.json.decode(text, type=dict[str, Any])


def encode_resource(resource: Resource, sealer: Sealer) -> Document:
    """Take a resource apart for the database: what of it is secret is sealed."""
    written = dict(resource.written)
    field = _sealed_field(resource.kind)
    is_secret = resource.kind in _SECRET_KINDS or _holds_secret(written.get(field))
    secret = written.pop(field, None) if is_secret else None
    sealed = None if secret is None else sealer.seal(msgspec.json.encode(secret), place=resource.key)
    return Document(text=encode_json(written), sealed=sealed)


def decode_row(row: Row, sealer: Sealer) -> Stored:
    """Put a resource together again. Raises: NotReadable, never quoting a secret."""
    try:
        written = decode_json(row.document.text)
        if row.document.sealed is not None:
            written[_sealed_field(row.key[0])] = msgspec.json.decode(sealer.open(row.document.sealed, place=row.key))
        resource = load_resource(written, file="the store")
    except (msgspec.DecodeError, CannotOpen) as error:
        raise NotReadable(str(error)) from None
    except ConfigError as error:
        raise NotReadable(str(error) if row.document.sealed is None else _without_values(error)) from None
    if resource.key != row.key:
        raise NotReadable(f"it stands in the place of {'/'.join(row.key)}, and is {'/'.join(resource.key)}")
    return to_stored(resource, row)


def _sealed_field(kind: str) -> str:
    """Return which part of a document is sealed, if any is."""
    return "data" if kind in _SECRET_KINDS else "spec"


def _holds_secret(value: Any) -> bool:
    """Was a key or certificate written into the resource itself?"""
    values = [value]
    while values:
        match values.pop():
            case dict() as mapping:
                if mapping.get("type") == DataSourceKind.INLINE.value:
                    return True
                values += mapping.values()
            case list() as items:
                values += items
    return False


def _without_values(error: ConfigError) -> str:
    """Say where a secret is wrong: messages may quote what stands there."""
    return f"wrong at {', '.join(violation.path for violation in error.violations)}"


def to_stored(resource: Resource, row: Row) -> Stored:
    """Join a resource and what its row adds."""
    return Stored(
        resource=attrs.evolve(resource, created=row.created),
        version=row.version,
        created=row.created,
        modified=row.modified,
    )
