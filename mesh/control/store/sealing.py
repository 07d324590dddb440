"""Sealing: secrets in the store can be read only with a key that lies in a file beside it, or elsewhere.

AES-256-GCM. The nonce is a keyed hash of what is sealed: no chance is needed that could repeat, and equal nonces mean
equal messages. The additional data bind a secret to its resource, so that nobody can exchange two secrets in the database.
Sealed bytes: format (1), key id (8), nonce (12), ciphertext and tag.
Source: NIST SP 800-38D; synthetic nonces as in RFC 8452 and RFC 5297.
"""

import base64
import binascii
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.model.errors import ConfigError, MeshError, Violation
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

KEY_BYTES = 32
KEYS_MAX = 16  # in one file
_FORMAT = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_FORMAT) + _ID_BYTES + _NONCE_BYTES


class CannotOpen(MeshError):
    """The operator's, or an intruder's: sealed bytes do not fit our keys, or were moved or changed."""


class _Key:
    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, f"a sealing key has {KEY_BYTES} bytes"
        self.id = hmac.digest(key, b"trio-mesh sealing key id", hashlib.sha256)[:_ID_BYTES]
        self.cipher = AESGCM(key)
        self._nonce_key = hmac.digest(key, b"trio-mesh sealing nonce", hashlib.sha256)

    def nonce(self, data: bytes, place: bytes) -> bytes:
        message = len(place).to_bytes(8, "big") + place + data
        return hmac.digest(self._nonce_key, message, hashlib.sha256)[:_NONCE_BYTES]


class Sealer:
    """Seals with the first key, opens with all: a new key is put in front, and the old one goes when nothing needs it."""

    def __init__(self, key: bytes, *older_keys: bytes) -> None:
        self._first = _Key(key)
        self._key_by_id = {key.id: key for key in (*map(_Key, reversed(older_keys)), self._first)}

    def __repr__(self) -> str:
        return f"<Sealer with {len(self._key_by_id)} keys>"

    def seal(self, data: bytes, *, place: tuple[str, ...]) -> bytes:
        """Return `data` so that only `open` with the same key and place gives it back."""
        key, bound = self._first, _bind(place)
        nonce = key.nonce(data, bound)
        return _FORMAT + key.id + nonce + key.cipher.encrypt(nonce, data, bound)

    def open(self, sealed: bytes, *, place: tuple[str, ...]) -> bytes:
        """Return what was sealed for this place. Raises: CannotOpen."""
        key = self._key_by_id.get(sealed[len(_FORMAT) : len(_FORMAT) + _ID_BYTES])
        if sealed[: len(_FORMAT)] != _FORMAT or key is None:
            raise CannotOpen("it is sealed with another key")
        nonce = sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES]
        try:
            return key.cipher.decrypt(nonce, sealed[_HEADER_BYTES:], _bind(place))
        except (InvalidTag, ValueError):
            raise CannotOpen("its sealed bytes were changed, or belong elsewhere") from None

    def is_current(self, sealed: bytes) -> bool:
        """Was it sealed with the first key?"""
        return sealed[: len(_FORMAT) + _ID_BYTES] == _FORMAT + self._first.id


def _bind(place: tuple[str, ...]) -> bytes:
    return "\0".join(place).encode()


async def load_or_create_key(env: Environment, path: str) -> bytes:
    """Return the first key of a file on `env.disk`, made durably when there is none. Raises: ConfigError, OSError."""
    return (await _load_or_create_keys(env, path))[0]


async def load_sealer(env: Environment, path: str) -> Sealer:
    """Return a sealer for the keys of a file, one a line: the first seals, all open. Raises: ConfigError, OSError."""
    return Sealer(*await _load_or_create_keys(env, path))


def create_key() -> bytes:
    """Make a key from the operating system's chance."""
    return AESGCM.generate_key(bit_length=KEY_BYTES * 8)


def encode_keys(keys: tuple[bytes, ...]) -> bytes:
    """Write a key file."""
    return b"".join(base64.b64encode(key) + b"\n" for key in keys)


def decode_keys(data: bytes, *, path: str) -> tuple[bytes, ...]:
    """Read a key file. Raises: ConfigError naming it, never quoting it."""
    lines = data.split()
    try:
        keys = tuple(base64.b64decode(line, validate=True) for line in lines)
    except binascii.Error:
        keys = ()
    if not 1 <= len(keys) <= KEYS_MAX or any(len(key) != KEY_BYTES for key in keys):
        message = f"is not a sealing key: {KEY_BYTES} bytes as base64, one key a line"
        hint = "bring it back from a copy: the secrets in the store cannot be read without it"
        raise ConfigError([Violation(file=path, message=message, hint=hint)])
    return keys


async def _load_or_create_keys(env: Environment, path: str) -> tuple[bytes, ...]:
    try:
        return decode_keys(await env.disk.read(path), path=path)
    except FileNotFoundError:
        keys = (create_key(),)
        await write_durably(env.disk, path, encode_keys(keys))
        return keys
