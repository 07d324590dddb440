"""EncodedSnapshot: a snapshot as the bytes that travel and lie on disk, with the digests that tell parts apart.

Pure. Part digests are compared for equality only; who sends them gains nothing by forging them but a wrong
configuration of its own, which the version of the whole then shows.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated

import attrs
import msgspec
from msgspec import Meta

from mesh.config.snapshot import Part, Snapshot, decode_part, encode_part, part_key
from mesh.model.errors import ConfigError, Violation


@attrs.frozen(eq=False)
class EncodedSnapshot:
    """All parts of one configuration as JSON, sorted by key; `version` is `Snapshot.version()` of the same parts."""

    parts: Mapping[str, bytes]
    digests: Mapping[str, str]
    version: str

    def decode(self) -> Snapshot:
        """Read all parts. Raises: ConfigError naming every part that cannot be read."""
        parts: dict[str, Part] = {}
        violations: list[Violation] = []
        for key, data in self.parts.items():
            try:
                part = decode_part(key, data)
            except ConfigError as error:
                violations.extend(error.violations)
                continue
            if part_key(part) != key:
                violations.append(Violation(path=key, message=f"the part under this key is {part_key(part)!r}"))
            parts[key] = part
        if violations:
            raise ConfigError(violations)
        return Snapshot(parts)


class PartEncoder:
    """Encodes the snapshots of one proxy, one after another; parts that are the same object as before are not redone."""

    __slots__ = ("_encoded", "_snapshot")

    def __init__(self) -> None:
        self._snapshot = Snapshot({})
        self._encoded: Mapping[str, tuple[bytes, str]] = {}

    def encode(self, snapshot: Snapshot) -> EncodedSnapshot:
        """Encode a snapshot, reusing what the last call did."""
        before, known = self._snapshot.parts, self._encoded
        encoded: dict[str, tuple[bytes, str]] = {}
        for key in sorted(snapshot.parts):
            part = snapshot.parts[key]
            if before.get(key) is part:
                encoded[key] = known[key]
            else:
                data = encode_part(part)
                encoded[key] = (data, _digest(data))
        self._snapshot, self._encoded = snapshot, encoded
        parts = {key: data for key, (data, _) in encoded.items()}
        return EncodedSnapshot(parts, {key: digest for key, (_, digest) in encoded.items()}, _version(parts))


def of_parts(parts: Mapping[str, bytes]) -> EncodedSnapshot:
    """Take parts that are encoded already; nothing is read."""
    ordered = {key: parts[key] for key in sorted(parts)}
    return EncodedSnapshot(ordered, {key: _digest(data) for key, data in ordered.items()}, _version(ordered))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snapshot at rest."""

    format: Annotated[int, Meta(ge=1, le=1)] = 1
    version: str
    parts: dict[str, msgspec.Raw]


def to_file(snapshot: EncodedSnapshot) -> bytes:
    """Write a snapshot as one JSON document."""
    parts = {key: msgspec.Raw(data) for key, data in snapshot.parts.items()}
    return msgspec.json.encode(_File(version=snapshot.version, parts=parts))


def from_file(data: bytes) -> EncodedSnapshot:
    """Read what `to_file` wrote. Raises: ConfigError when it was damaged."""
    try:
        document = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError([Violation(message=f"damaged snapshot: {error}")]) from error
    snapshot = of_parts({key: bytes(raw) for key, raw in document.parts.items()})
    if snapshot.version != document.version:
        raise ConfigError([Violation(message="damaged snapshot: its content does not have its version")])
    return snapshot


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _version(parts: Mapping[str, bytes]) -> str:
    """Compute what `Snapshot.version` computes, from bytes; `parts` are sorted by key."""
    digest = hashlib.blake2b(digest_size=8)
    for key, data in parts.items():
        digest.update(f"{key}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
