"""TokenAuthority: issues and verifies tokens with the signing keys and revocations that stand in secrets.

Pure over the secrets it is told: the newest key signs, all that are there are accepted, so a rotation is to add a key with the
next serial, hand out new tokens, and delete the old key. Public keys may be given for tokens that are signed elsewhere.
Source: Kuma's names of secrets; dataplane keys belong to one mesh, user and zone keys to the whole installation.
"""

import enum
import re
from collections.abc import Iterable, Mapping

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from mesh.identity.tokens import (
    DataplaneClaims,
    SigningKey,
    TokenVerifier,
    UserClaims,
    ZoneClaims,
    decode_public_key,
    issue_dataplane_token,
    issue_user_token,
    issue_zone_token,
)
from mesh.model.errors import IdentityError
from mesh.model.randomness import Random

SecretKey = tuple[str, str, str]  # kind, mesh, name: a resource's key

_SERIAL_DIGITS_MAX = 9
_BETWEEN_IDS = re.compile(r"[,\s]+")


class TokenKind(enum.Enum):
    """Whom a token stands for; the value is what Kuma's secrets begin with."""

    DATAPLANE = "dataplane-token"
    USER = "user-token"
    ZONE = "zone-token"


def signing_key_secret(kind: TokenKind, serial: int, *, mesh: str = "") -> SecretKey:
    """Return the key of the secret with a signing key; `mesh` is for dataplane tokens."""
    return _secret(kind, mesh, f"{_signing_key_prefix(kind, mesh)}{serial}")


def signing_key_of(key: SecretKey) -> tuple[TokenKind, int] | None:
    """Return what a secret holds a signing key for, and its serial; None when it is another secret."""
    kind_of_resource, mesh, name = key
    for kind in TokenKind:
        if kind_of_resource == _resource_kind(kind):
            serial = _serial(name, _signing_key_prefix(kind, mesh))
            if serial is not None:
                return kind, serial
    return None


def revocations_secret(kind: TokenKind, *, mesh: str = "") -> SecretKey:
    """Return the key of the secret with the ids of revoked tokens, joined by commas; they may stand one a line too."""
    name = f"{kind.value}-revocations"
    return _secret(kind, mesh, f"{name}-{mesh}" if kind is TokenKind.DATAPLANE else name)


def revoked_ids(data: bytes) -> tuple[str, ...]:
    """Read a secret with revocations."""
    return tuple(filter(None, _BETWEEN_IDS.split(data.decode("utf-8", "replace"))))


def with_revocation(data: bytes, token_id: str) -> bytes:
    """Return what a secret with revocations holds once `token_id` is in it."""
    ids = revoked_ids(data)
    return ",".join(ids if token_id in ids else (*ids, token_id)).encode()


def _signing_key_prefix(kind: TokenKind, mesh: str) -> str:
    return f"{kind.value}-signing-key-{mesh}-" if kind is TokenKind.DATAPLANE else f"{kind.value}-signing-key-"


def _resource_kind(kind: TokenKind) -> str:
    return "Secret" if kind is TokenKind.DATAPLANE else "GlobalSecret"


def _secret(kind: TokenKind, mesh: str, name: str) -> SecretKey:
    assert bool(mesh) is (kind is TokenKind.DATAPLANE), "only dataplane tokens belong to a mesh"
    return (_resource_kind(kind), mesh, name)


@attrs.frozen(kw_only=True)
class OfflineKey:
    """The public half of a signing key that never comes here; `mesh` is for dataplane tokens."""

    kind: TokenKind
    kid: str
    public_key_pem: str
    mesh: str = ""


@attrs.define(eq=False)
class _Ring:
    """The keys and revocations of one kind of token (of one mesh); keys are read when they are first needed."""

    data_by_serial: dict[int, bytes] = attrs.field(factory=dict, repr=False)
    revoked: frozenset[str] = frozenset()
    offline: dict[str, rsa.RSAPublicKey] = attrs.field(factory=dict)
    _keys: dict[int, SigningKey] = attrs.field(factory=dict)
    _verifier: TokenVerifier | None = None

    def changed(self) -> None:
        self._keys = {}
        self._verifier = None

    def newest(self) -> SigningKey:
        """Return the key to sign with. Raises: IdentityError when there is none or it cannot be read."""
        if not self.data_by_serial:
            raise IdentityError("there is no signing key; add one with `mesh generate signing-key`")
        return self._key(max(self.data_by_serial))

    def verifier(self) -> TokenVerifier:
        if self._verifier is None:
            public = dict(self.offline)
            for serial in self.data_by_serial:
                try:
                    public[str(serial)] = self._key(serial).public_key
                except IdentityError:
                    continue  # A damaged key proves nothing; the others still do.
            self._verifier = TokenVerifier(public, self.revoked)
        return self._verifier

    def _key(self, serial: int) -> SigningKey:
        if serial not in self._keys:
            # The store takes in no key that cannot be read (`mesh.control.catalogue_checks`).
            self._keys[serial] = SigningKey.decode(serial, self.data_by_serial[serial], checked=True)
        return self._keys[serial]


class TokenAuthority:
    """All tokens of one installation. Tell it of every Secret and GlobalSecret; those of other purposes it passes over."""

    def __init__(
        self, secrets: Mapping[SecretKey, bytes] | None = None, *, offline_keys: Iterable[OfflineKey] = ()
    ) -> None:
        """Raises: IdentityError when an offline key cannot be read."""
        self._rings: dict[tuple[TokenKind, str], _Ring] = {}
        for offline in offline_keys:
            public_key = decode_public_key(offline.kid, offline.public_key_pem)
            self._ring(offline.kind, offline.mesh).offline[offline.kid] = public_key
        for key, data in (secrets or {}).items():
            self.secret_changed(key, data)

    def secret_changed(self, key: SecretKey, data: bytes | None) -> None:
        """Go by this content of a secret from now on; None: it is no more."""
        kind_of_resource, mesh, _ = key
        for kind in TokenKind:
            if kind_of_resource == _resource_kind(kind) and key == revocations_secret(kind, mesh=mesh):
                ring = self._ring(kind, mesh)
                ring.revoked = frozenset(revoked_ids(data or b""))
                ring.changed()
        held = signing_key_of(key)
        if held is not None:
            kind, serial = held
            ring = self._ring(kind, mesh)
            ring.data_by_serial.pop(serial, None)
            if data is not None:
                ring.data_by_serial[serial] = data
            ring.changed()

    def serials(self, kind: TokenKind, *, mesh: str = "") -> tuple[int, ...]:
        """Return the serials of the signing keys that are there, ascending: the last one signs."""
        ring = self._rings.get((kind, mesh))
        return tuple(sorted(ring.data_by_serial)) if ring else ()

    def next_signing_key(self, kind: TokenKind, *, mesh: str = "") -> tuple[SecretKey, bytes]:
        """Make the key that follows: the secret's key and its data. It counts once `secret_changed` told of it."""
        serial = max(self.serials(kind, mesh=mesh), default=0) + 1
        return signing_key_secret(kind, serial, mesh=mesh), SigningKey.create(serial).encode().encode()

    def issue_dataplane(
        self,
        *,
        mesh: str,
        name: str = "",
        workload: str = "",
        tags: Mapping[str, tuple[str, ...]] | None = None,
        lifetime_s: float,
        now: float,
        random: Random,
    ) -> str:
        """Sign a token for the Dataplanes of a mesh. Raises: IdentityError."""
        return issue_dataplane_token(
            self._newest(TokenKind.DATAPLANE, mesh),
            mesh=mesh,
            name=name,
            workload=workload,
            tags=tags,
            lifetime_s=lifetime_s,
            now=now,
            random=random,
        )

    def issue_user(
        self, *, name: str, groups: tuple[str, ...] = (), lifetime_s: float, now: float, random: Random
    ) -> str:
        """Sign a token for a user of the API. Raises: IdentityError."""
        key = self._newest(TokenKind.USER, "")
        return issue_user_token(key, name=name, groups=groups, lifetime_s=lifetime_s, now=now, random=random)

    def issue_zone(
        self, *, zone: str, scope: tuple[str, ...] = (), lifetime_s: float, now: float, random: Random
    ) -> str:
        """Sign a token for a zone. Raises: IdentityError."""
        key = self._newest(TokenKind.ZONE, "")
        return issue_zone_token(key, zone=zone, scope=scope, lifetime_s=lifetime_s, now=now, random=random)

    def verify_dataplane(
        self,
        token: str,
        *,
        now: float,
        mesh: str,
        name: str,
        workload: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> DataplaneClaims:
        """Return the claims if the token lets this Dataplane in at `now`. Raises: IdentityError with the reason."""
        verifier = self._verifier(TokenKind.DATAPLANE, mesh)
        return verifier.verify(token, now=now, mesh=mesh, name=name, workload=workload, tags=tags)

    def verify_dataplane_of(self, mesh: str, token: str, *, now: float) -> DataplaneClaims:
        """Return the claims of a token that is good for some Dataplane of a mesh. Raises: IdentityError."""
        claims = self._verifier(TokenKind.DATAPLANE, mesh).verify_dataplane(token, now=now)
        if claims.mesh and claims.mesh != mesh:
            raise IdentityError(f"the dataplane token is for mesh {claims.mesh!r}, not {mesh!r}")
        return claims

    def is_revoked(self, kind: TokenKind, token_id: str, *, mesh: str = "") -> bool:
        """Has this token been taken back?"""
        ring = self._rings.get((kind, mesh))
        return ring is not None and token_id in ring.revoked

    def verify_user(self, token: str, *, now: float) -> UserClaims:
        """Return the claims of a user token that is good at `now`. Raises: IdentityError."""
        return self._verifier(TokenKind.USER, "").verify_user(token, now=now)

    def verify_zone(self, token: str, *, now: float) -> ZoneClaims:
        """Return the claims of a zone token that is good at `now`. Raises: IdentityError."""
        return self._verifier(TokenKind.ZONE, "").verify_zone(token, now=now)

    def _ring(self, kind: TokenKind, mesh: str) -> _Ring:
        return self._rings.setdefault((kind, mesh), _Ring())

    def _verifier(self, kind: TokenKind, mesh: str) -> TokenVerifier:
        # Not `_ring`: whoever names meshes that are not there must not make us remember them.
        ring = self._rings.get((kind, mesh))
        return ring.verifier() if ring else TokenVerifier({})

    def _newest(self, kind: TokenKind, mesh: str) -> SigningKey:
        ring = self._rings.get((kind, mesh)) or _Ring()
        try:
            return ring.newest()
        except IdentityError as error:
            of_mesh = f" of the mesh {mesh!r}" if mesh else ""
            raise IdentityError(f"cannot sign a {kind.value.replace('-', ' ')}{of_mesh}: {error}") from None


def _serial(name: str, prefix: str) -> int | None:
    """Return the serial of a signing key from its secret's name; None when it is not one."""
    digits = name.removeprefix(prefix)
    if digits == name or not digits.isascii() or not digits.isdigit() or len(digits) > _SERIAL_DIGITS_MAX:
        return None
    serial = int(digits)
    return serial if serial and str(serial) == digits else None
