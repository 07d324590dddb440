"""EncodedSnapshot: a snapshot as the bytes that travel and lie on disk, with the digests that tell parts apart.

Pure. Part digests are compared for equality only; who sends them gains nothing by forging them but a wrong
configuration of its own, which the version of the whole then shows.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated
from weakref import WeakValueDictionary

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

    @property
    def size_bytes(self) -> int:
        """Return about how much of a message a push of everything takes."""
        return sum(len(key) + len(data) + 4 for key, data in self.parts.items())

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


@attrs.frozen(eq=False)
class EncodedPart:
    """One part, as it travels."""

    part: Part
    data: bytes
    digest: str


class SharedParts:
    """The encoded parts of many proxies: what is one object for several of them is encoded once, and kept once.

    It keeps nothing alive: a part is forgotten with the last encoder that uses it.
    """

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        # As long as an entry is there it holds its part, so that nothing else has that part's id.
        self._by_id: WeakValueDictionary[int, EncodedPart] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._by_id)

    def encode(self, part: Part, before: EncodedPart | None = None) -> EncodedPart:
        """Encode a part, unless that was done, or it is equal to the one before it."""
        encoded = self._by_id.get(id(part))
        if encoded is None and before is not None and before.part == part:
            return before
        if encoded is None:
            data = encode_part(part)
            encoded = self._by_id[id(part)] = EncodedPart(part, data, _digest(data))
        return encoded


class PartEncoder:
    """Encodes the snapshots of one proxy, one after another; parts that are equal to those before are not redone."""

    __slots__ = ("_encoded", "_shared")

    def __init__(self, shared: SharedParts | None = None) -> None:
        self._shared = SharedParts() if shared is None else shared
        self._encoded: Mapping[str, EncodedPart] = {}

    def encode(self, snapshot: Snapshot) -> EncodedSnapshot:
        """Encode a snapshot, reusing what the last call did."""
        encoded: dict[str, EncodedPart] = {}
        for key in sorted(snapshot.parts):
            part, known = snapshot.parts[key], self._encoded.get(key)
            same = known is not None and known.part is part
            encoded[key] = known if known is not None and same else self._shared.encode(part, known)
        self._encoded = encoded
        parts = {key: part.data for key, part in encoded.items()}
        return EncodedSnapshot(parts, {key: part.digest for key, part in encoded.items()}, _version(parts))


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
